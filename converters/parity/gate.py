"""The gate: an artifact that is not the network is not kept, and the first unit that differs is named."""

from dataclasses import replace
from pathlib import Path

from u2net_zoo.errors import ParityError, one_line

from ..format import Format
from ..mask_errors import GREY_LEVEL, MaskBound
from ..options import Options, output_names
from ..parity_report import Report, TensorReport
from ..predictor import Predictor
from .compare import compare, grey_error, size_error
from .reference import Reference

__all__ = ["AT_SIZES", "prove"]

AT_SIZES = MaskBound(iou=0.999, mae=0.001)  # float32 at further sizes; a resize that is off by half a pixel: 0.99


def prove(fmt: Format, path: Path, options: Options, reference: Reference) -> Report:
    """The report on an artifact that was just written, in every way in which it is run.

    Raises:
        ParityError: it does not run, or is not the network; names the first unit that differs, where one can be seen.
    """
    reference.compute()
    found: Report | None = None
    try:
        for predictor in fmt.proofs(path):
            found = _compared(fmt, predictor, options, reference, found)
            if found.fast and not found.fast.ok:
                found = replace(found, plain=fmt.forgo_fast(path))
            if not found.ok:
                break
    except MemoryError:
        raise
    except Exception as error:  # runtimes raise anything; our own artifact must run, whatever they say
        raise ParityError(f"{fmt.name}: not kept: it does not run as the network: {one_line(error)}") from error
    if found is None:
        raise ParityError(f"{fmt.name}: not kept: there is no way to run it")
    return _kept(fmt, found)


def _kept(fmt: Format, report: Report) -> Report:
    """The report itself. Raises ParityError where it is one of failure."""
    if report.ok:
        return report
    where = report.diverges_at
    nearly = report.fast is None and all(size.ok for size in report.sizes)
    if where is None and nearly and isinstance(report, TensorReport):
        unseen = "no inner unit differs" if fmt.inner_values else "no inner values to look at in this format"
        where = f"{report.worst.name} ({unseen})"
    raise ParityError(f"{fmt.name}: not kept: {report.summary()}{f'; first divergence at {where}' if where else ''}")


def _compared(
    fmt: Format, predictor: Predictor, options: Options, reference: Reference, before: Report | None
) -> Report:
    """The report at the reference's size, and at the further sizes of a flexible artifact.

    Args:
        before: of the way to run it that came before; kernels that trade digits for speed are judged beside it.
    """
    quicker = predictor.computes == GREY_LEVEL and options.precision not in fmt.bounds
    if before and quicker and not predictor.embedded:  # pictures have a bound of grey levels already
        return replace(before, fast=grey_error(predictor, reference))
    bound = fmt.bounds.get(options.precision or "fp32") or fmt.bounds.get(predictor.computes)
    report = compare(predictor, reference, bound, output_names(reference.checkpoint.arch, options))
    others = [size for size in _further_sizes(options) if size != reference.size]
    return replace(report, sizes=tuple(size_error(predictor, reference, size, bound or AT_SIZES) for size in others))


def _further_sizes(options: Options) -> tuple[tuple[int, int], ...]:
    """At which a flexible artifact is tried: all that are enumerated; of a range its corners, high and wide."""
    if not options.span:
        return options.sizes
    low, high = options.span
    return tuple(dict.fromkeys([low, (low[0], high[1]), (high[0], low[1]), high]))

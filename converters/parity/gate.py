"""The gate: an artifact that is not the network is not kept, and the first unit that differs is named."""

from dataclasses import replace
from pathlib import Path

from u2net_zoo.errors import ParityError, one_line

from ..format import Format
from ..mask_errors import MaskBound
from ..options import Options, output_names
from ..parity_report import Report, TensorReport
from ..predictor import Predictor
from .compare import compare, size_error
from .reference import Reference

__all__ = ["AT_SIZES", "prove"]

AT_SIZES = MaskBound(iou=0.999, mae=0.001)  # float32 at further sizes; a resize that is off by half a pixel: 0.99


def prove(fmt: Format, path: Path, options: Options, reference: Reference) -> Report:
    """The report on an artifact that was just written, in every way in which it is run.

    Raises:
        ParityError: it does not run, or is not the network; names the first unit that differs, where one can be seen.
    """
    reference.compute()
    try:
        for predictor in fmt.proofs(path):
            report = _compared(fmt, predictor, options, reference)
            if not report.ok:
                break
    except MemoryError:
        raise
    except Exception as error:  # runtimes raise anything; our own artifact must run, whatever they say
        raise ParityError(f"{fmt.name}: not kept: it does not run as the network: {one_line(error)}") from error
    if report.ok:
        return report
    where = report.diverges_at
    if where is None and isinstance(report, TensorReport) and all(size.ok for size in report.sizes):
        unseen = "no inner unit differs" if fmt.inner_values else "no inner values to look at in this format"
        where = f"{report.worst.name} ({unseen})"
    raise ParityError(f"{fmt.name}: not kept: {report.summary()}{f'; first divergence at {where}' if where else ''}")


def _compared(fmt: Format, predictor: Predictor, options: Options, reference: Reference) -> Report:
    """The report at the reference's size, and at the further sizes of a flexible artifact."""
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

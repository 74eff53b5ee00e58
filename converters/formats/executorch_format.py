"""`executorch`: ExecuTorch's programs for phones, one graph of XNNPACK, written from the architecture's own walk."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature
from u2net_zoo.errors import OptionError

from ..embedded import metadata_of
from ..format import Format, Lane
from ..mask_errors import MaskBound
from ..options import Options, output_names
from ..parity_report import Report, TensorReport
from ..predictor import Predictor
from ..quantise.integer_layers import plan_integers
from ..quantise.mixed_precision import Plan
from . import executorch_reader
from .executorch_export import exported
from .executorch_library import loaded
from .executorch_program import parsed_program
from .executorch_runtime import OUTPUTS, ExecuTorchRuntime
from .executorch_writing import program_bytes
from .xnnpack_graph import xnnpack_graph
from .xnnpack_int8 import integer_graph
from .xnnpack_parsing import parsed_payload

__all__ = ["ExecuTorch"]

PROFILE = "u2zoo.prepared"  # of the words that a file says of itself: whose preparation photographs need


class ExecuTorch(Format):
    name = "executorch"
    title = "ExecuTorch program"
    suffix = ".pte"
    unit_bytes, writing_seconds = 1216, 1
    parts = {".ptd": ".pte"}
    signature = Signature(re.compile(rb".{4}ET\d\d", re.S))
    extra = "executorch"
    packages = running = ("torch", "executorch")
    prepares = True
    lanes = (Lane("ExecuTorch, XNNPACK"),)
    choices = {
        "batch": (1,),
        "precision": ("fp32", "int8"),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native", "executorch"),
    }
    # Measured on u2netp and 18 photographs that are not calibrated on, 2026-11-26: 0.9902, worst 0.9668, 0.0021. What
    # XNNPACKQuantizer makes, all layers in int8: 0.852, worst 0.627, 0.057 on the six that it was calibrated on.
    bounds = {"int8": MaskBound(iou=0.985, worst=0.96, mae=0.008)}

    def settle(self, asked: Options) -> Options:
        settled = super().settle(asked)
        if settled.via != "native" and settled.precision != "fp32":
            raise OptionError(f"--precision {settled.precision} goes with --via native")
        return settled

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        words = _words(checkpoint, options)
        if options.via != "native":
            path.write_bytes(exported(checkpoint, options, words))
            return None
        plan = plan_integers(checkpoint, options, self.bounds["int8"], _masks) if options.precision == "int8" else None
        graph = integer_graph(plan.checkpoint, options, plan.rounded) if plan else xnnpack_graph(checkpoint, options)
        path.write_bytes(program_bytes(graph, words))
        return plan

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
        """The figures of the proof, beside what the file says of itself already; its graph is written as it is."""
        if options.via != "native":
            return
        program = parsed_program(path)
        (step,) = program.method.steps
        if step.data is not None:
            graph = parsed_payload(step.data, program.named)
            path.write_bytes(program_bytes(graph, program.words | _figures(report)))

    def open(self, path: Path) -> Predictor:
        return ExecuTorchRuntime(path)

    def read(self, path: Path) -> Checkpoint:
        return executorch_reader.read(path)

    def words_in(self, path: Path) -> Mapping[str, str]:
        return parsed_program(path).words

    def profile_in(self, path: Path) -> str:
        return parsed_program(path).words.get(PROFILE, "")


def _masks(level: Checkpoint, options: Options, eight: Collection[str]) -> Callable[[np.ndarray], np.ndarray]:
    """The equalised network with these units in int8, in the runtime."""
    run = loaded(program_bytes(integer_graph(level, replace(options, outputs="mask"), eight)))
    return lambda x: run(x)[0][0]


def _words(checkpoint: Checkpoint, options: Options) -> dict[str, str]:
    names = " ".join(output_names(checkpoint.arch, options))
    asks = {PROFILE: options.profile} if options.profile else {}
    return {**metadata_of(checkpoint, options), **asks, OUTPUTS: names, "u2zoo.version": __version__}


def _figures(report: Report) -> dict[str, str]:
    if not isinstance(report, TensorReport):
        return {}
    figures = {output.name: {"max_abs": output.max_abs, "noise": output.noise} for output in report.outputs}
    return {"u2zoo.parity": report.summary(), "u2zoo.parity.json": json.dumps(figures)}

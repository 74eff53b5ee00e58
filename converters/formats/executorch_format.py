"""`executorch`: ExecuTorch's programs for phones, one graph of XNNPACK, written from the architecture's own walk."""

import json
import re
from pathlib import Path

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature

from ..embedded import metadata_of
from ..format import Format, Lane
from ..options import Options, output_names
from ..parity_report import Report, TensorReport
from ..predictor import Predictor
from ..quantise.mixed_precision import Plan
from . import executorch_reader
from .executorch_program import parsed_program
from .executorch_runtime import OUTPUTS, ExecuTorchRuntime
from .executorch_writing import program_bytes
from .xnnpack_graph import xnnpack_graph
from .xnnpack_payload import parsed_payload

__all__ = ["ExecuTorch"]


class ExecuTorch(Format):
    name = "executorch"
    title = "ExecuTorch program"
    suffix = ".pte"
    parts = {".ptd": ".pte"}
    signature = Signature(re.compile(rb".{4}ET\d\d", re.S))
    extra = "executorch"
    packages = running = ("torch", "executorch")
    lanes = (Lane("ExecuTorch, XNNPACK"),)
    choices = {
        "batch": (1,),
        "precision": ("fp32",),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native",),
    }

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        path.write_bytes(program_bytes(xnnpack_graph(checkpoint, options), _words(checkpoint, options)))
        return None

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
        """The figures of the proof, beside what the file says of itself already; its graph is written as it is."""
        program = parsed_program(path)
        (step,) = program.method.steps
        if step.data is not None:
            graph = parsed_payload(step.data, program.named)
            path.write_bytes(program_bytes(graph, program.words | _figures(report)))

    def open(self, path: Path) -> Predictor:
        return ExecuTorchRuntime(path)

    def read(self, path: Path) -> Checkpoint:
        return executorch_reader.read(path)


def _words(checkpoint: Checkpoint, options: Options) -> dict[str, str]:
    names = " ".join(output_names(checkpoint.arch, options))
    return {**metadata_of(checkpoint, options), OUTPUTS: names, "u2zoo.version": __version__}


def _figures(report: Report) -> dict[str, str]:
    if not isinstance(report, TensorReport):
        return {}
    figures = {output.name: {"max_abs": output.max_abs, "noise": output.noise} for output in report.outputs}
    return {"u2zoo.parity": report.summary(), "u2zoo.parity.json": json.dumps(figures)}

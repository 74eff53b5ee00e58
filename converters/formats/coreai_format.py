"""`coreai`: an asset of Core AI (iOS 27, macOS 27 or later), written by Apple's converter, evaluated op by op."""

import functools
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, OptionError
from u2net_zoo.system import core_ai

from ..coreai import Asset
from ..coreai.asset import PROGRAM, read_metadata
from ..embedded import read_embedded, read_multiple, read_precision, read_takes
from ..format import Format
from ..options import DYNAMIC, Options
from ..parity_report import Report
from ..predictor import Predictor
from ..quantise.mixed_precision import Plan, plan_weights
from ..quantise.rounding import BITS
from . import coreai_reader
from .coreai_export import write_asset
from .coreai_metadata import PROFILE, describe_asset, write_notes
from .coreai_runtime import by_apple
from .coreml_format import CoreML
from .layout import NCHW, Layout, check_input

if TYPE_CHECKING:
    from ..coreai.interpreter import Interpreter

__all__ = ["CoreAI"]


class CoreAI(Format):
    name = "coreai"
    title = "Core AI asset"
    suffix = ".aimodel"
    unit_bytes, writing_seconds = 580, 6
    is_folder = True
    marker = PROGRAM
    extra = "coreai"
    packages = ("torch", "coreai_torch")
    running = ("torch",)
    running_extra = "torch"
    prepares = True
    choices = {
        "batch": (1, DYNAMIC),
        "precision": ("fp32", "fp16", *BITS),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "target": ("iOS27",),
        "via": ("native",),
    }
    flexible = True
    bounds = CoreML.bounds  # the same weights in the same numbers

    def evaluated(self) -> bool:
        return core_ai() != "runs" or find_spec("coreai") is None

    def in_all(self) -> bool:
        return bool(core_ai()) or all(find_spec(package) for package in self.packages)

    def settle(self, asked: Options) -> Options:
        if asked.sizes:
            raise OptionError("format 'coreai' cannot honour --size with several sizes; it takes one, or LOW..HIGH")
        return super().settle(asked)

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        plan = None
        if options.precision in BITS:
            plan = plan_weights(checkpoint, options, self.bounds[options.precision], half=True)
        write_asset(plan.checkpoint if plan else checkpoint, path, options, plan)
        write_notes(path, checkpoint, options)
        return plan

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
        describe_asset(path, checkpoint, options, report)

    def read(self, path: Path) -> Checkpoint:
        return coreai_reader.read(path)

    def open(self, path: Path) -> Predictor:
        """Core AI itself on macOS 27, elsewhere the program, op by op."""
        return _Evaluated(path) if self.evaluated() else _ByApple(path)

    def proofs(self, path: Path) -> Iterator[Predictor]:
        """The evaluator, and on macOS 27 Core AI too."""
        yield _Evaluated(path)
        if not self.evaluated():
            yield _ByApple(path)

    def profile_in(self, path: Path) -> str:
        return read_metadata(path).get(PROFILE, "")

    def words_in(self, path: Path) -> Mapping[str, str]:
        return read_metadata(path)


class _Evaluated(Predictor):
    """An asset, op by op. With a profile in its graph it takes uint8 (N, 3, H, W), as every file with one here."""

    def __init__(self, path: Path):
        self.asset = Asset.open(path)
        function, metadata = self.asset.function, self.asset.metadata
        if len(function.inputs) != 1 or not function.outputs:
            found = f"{len(function.inputs)} inputs and {len(function.outputs)} outputs"
            raise ArtifactError(f"{path}: has {found}; a U²-Net has one input and at least one output")
        ((self.input, value),) = function.inputs.items()
        if value.kind is None:
            raise ArtifactError(f"{path}: takes {self.input!r}, which is no tensor")
        self.outputs = tuple(function.outputs)
        self.embedded, self.precision = read_embedded(metadata), read_precision(metadata)
        self.stated, self.multiple = read_takes(metadata), read_multiple(metadata)
        self.layout = Layout.of(value.kind.shape, NCHW)
        self.batch, self.size = self.layout.sizes(value.kind.shape, path)
        self.interpreter  # noqa: B018 - an operation that is not there is told when the file is opened

    @functools.cached_property
    def interpreter(self) -> "Interpreter":
        from ..coreai.interpreter import Interpreter

        return Interpreter(self.asset)

    def answers(self, given: np.ndarray) -> dict[str, np.ndarray]:
        return self.interpreter.evaluate({self.input: given})

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        answers = self.answers(self.layout.given(x))
        return {name: self.layout.answered(answers[name]) for name in self.outputs}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        wanted = [int(name) for name in coreai_reader.graph_of(self.asset).activations()]
        values = self.interpreter.evaluate({self.input: self.layout.given(x)}, taps=wanted)
        pairs = zip(arch.units(), wanted, strict=False)
        return iter([(unit.path, values[number].astype(np.float32)) for unit, number in pairs])


class _ByApple(_Evaluated):
    """Run by Core AI itself. Which of its units computes is its own choice, so it is held to the bounds of fp16."""

    computes = "fp16"

    def answers(self, given: np.ndarray) -> dict[str, np.ndarray]:
        return by_apple(self.asset.path, self.asset.function.name, {self.input: given})

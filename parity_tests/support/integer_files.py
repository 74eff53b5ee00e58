"""Files of a small network in integers, as the formats write them, without the search for what masks can bear."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from support.networks import SMALL, hard_checkpoint

from converters import FORMATS, Options
from converters.formats.executorch_writing import program_bytes
from converters.formats.mnn_graph import mnn_bytes
from converters.formats.tflite_graph import integer_bytes
from converters.formats.xnnpack_int8 import integer_graph
from converters.options import W8A8
from converters.quantise.equalise import equalised
from converters.quantise.integer_fit import fit
from converters.quantise.integer_network import Recipe, Steps
from converters.quantise.mixed_precision import replaced
from converters.quantise.rounding import rounded
from converters.quantise.sensitivity import SensitivityAnalysis
from u2net_zoo.checkpoint import Checkpoint

__all__ = ["WRITERS"]

SIZE = (32, 32)


def _level() -> tuple[Checkpoint, list[np.ndarray]]:
    """The network with maps that reach 1, and what it was measured on."""
    inputs = [np.random.default_rng(0).uniform(-2, 2, (1, 3, *SIZE)).astype(np.float32)]
    small = hard_checkpoint(SMALL).fold()
    return equalised(small, SensitivityAnalysis(small, inputs).reach()), inputs


def whole_tflite(path: Path) -> None:
    level, inputs = _level()
    finer = frozenset(("stage1d.rebnconv1d",))
    network = fit(level, inputs, Steps.between(-2.2, 2.7), Recipe(finer)).network
    options = FORMATS["tflite"].settle(Options(size=SIZE, precision=W8A8))
    path.write_bytes(integer_bytes(network, options, {"u2zoo.precision": W8A8}))


def int8_executorch(path: Path) -> None:
    level, _ = _level()
    eight = [unit.path for unit in level.arch.units() if unit.relu][1:]
    options = FORMATS["executorch"].settle(Options(size=SIZE))
    path.write_bytes(program_bytes(integer_graph(level, options, eight), {}))


def int8_mnn(path: Path) -> None:
    small = hard_checkpoint(SMALL).fold()
    kernels = {u.path: rounded(small.state[f"{u.conv_path}.weight"], "int8") for u in small.arch.units()}
    path.write_bytes(mnn_bytes(replaced(small, kernels), FORMATS["mnn"].settle(Options(size=SIZE, precision="int8"))))


WRITERS: Mapping[str, Callable[[Path], None]] = {
    f"tflite:{W8A8}": whole_tflite,
    "executorch:int8": int8_executorch,
    "mnn:int8": int8_mnn,
}

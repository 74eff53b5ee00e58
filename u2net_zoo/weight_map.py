"""Torch and Keras names of the same tensors: one row each, derived from the architecture, used in both directions."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .arch import STEM, Architecture, Unit
from .errors import CheckpointError

__all__ = ["Row", "from_keras", "layer_name", "rows", "to_keras"]

TO_HWIO = (2, 3, 1, 0)
TO_OIHW = (3, 2, 0, 1)
KERAS_LEAF = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


@dataclass(frozen=True)
class Row:
    """One tensor.

    Attributes:
        key: Torch state-dict key.
        shape: its shape in Torch.
        layer: Keras layer, named as the Torch module (see `layer_name`).
        variable: attribute of that layer: `kernel`, `bias`, `gamma`, `beta`, `moving_mean`, `moving_variance`.
    """

    key: str
    shape: tuple[int, ...]
    layer: str
    variable: str

    @property
    def is_kernel(self) -> bool:
        return self.variable == "kernel"

    @property
    def keras_shape(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in TO_HWIO) if self.is_kernel else self.shape

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Torch's array as Keras holds it. Raises CheckpointError on a wrong shape."""
        self._check(array, self.shape, "for Torch")
        return array.transpose(TO_HWIO) if self.is_kernel else array

    def backward(self, array: np.ndarray) -> np.ndarray:
        """Keras' array as Torch holds it, C-contiguous. Raises CheckpointError on a wrong shape."""
        self._check(array, self.keras_shape, "after OIHW->HWIO" if self.is_kernel else "for Keras")
        return np.ascontiguousarray(array.transpose(TO_OIHW) if self.is_kernel else array)

    def _check(self, array: np.ndarray, expected: tuple[int, ...], where: str) -> None:
        if tuple(array.shape) != expected:
            raise CheckpointError(f"{self.key}: expected {expected} {where}, got {tuple(array.shape)}")


def rows(arch: Architecture) -> tuple[Row, ...]:
    """One row per tensor of the network, proved bijective.

    Torch's `num_batches_tracked` has no row: it counts training steps, takes no part in the network, and Keras has
    nothing like it.
    """
    table = tuple(row for unit in arch.units() for row in _unit_rows(unit))
    _prove(arch, table)
    return table


def layer_name(module: str) -> str:
    """Keras name of a Torch module: `stage1_rebnconvin_conv_s1`; of a head: `side1_logits`.

    Keras forbids "/" in a layer's name and, on its Torch backend, "."; `side1` is the name of the output itself.
    """
    return module.replace(".", "_") if "." in module or module == STEM else f"{module}_logits"


def _unit_rows(unit: Unit) -> Iterable[Row]:
    for key, shape in unit.shapes():
        module, leaf = key.rsplit(".", 1)
        if leaf == "num_batches_tracked":
            continue
        variable = KERAS_LEAF[leaf] if module != unit.conv_path else "kernel" if leaf == "weight" else "bias"
        yield Row(key, shape, layer_name(module), variable)


def _prove(arch: Architecture, table: tuple[Row, ...]) -> None:
    keys = Counter(row.key for row in table)
    variables = Counter((row.layer, row.variable) for row in table)
    expected = {key for key in arch.state_shapes() if not key.endswith("num_batches_tracked")}
    twice = [name for names in (keys, variables) for name, count in names.items() if count > 1]
    if twice or set(keys) != expected:
        raise AssertionError(f"weight map is not bijective: twice {twice}, unmatched {expected ^ set(keys)}")


def to_keras(arch: Architecture, state: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """(layer, variable) to array for every Keras variable."""
    return {(row.layer, row.variable): row.forward(state[row.key]) for row in rows(arch)}


def from_keras(arch: Architecture, read: Callable[[str, str], np.ndarray]) -> dict[str, np.ndarray]:
    """The Torch state (without counters); `read(layer, variable)` fetches an array."""
    return {row.key: row.backward(np.asarray(read(row.layer, row.variable))) for row in rows(arch)}

"""What a case of Core AI's operations is; the cases are in `coreai_cases` and `coreai_cases_windows`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["F16", "F32", "RNG", "Case", "normal", "stored", "torch_of", "unsigned"]

RNG = np.random.default_rng(20261127)
F32, F16 = np.float32, np.float16


@dataclass(frozen=True)
class Case:
    """One program.

    Attributes:
        build: called with the library's operations (`coreai.authoring`), `constant` and a value for each input.
        inputs: arrays.
        expected: of the inputs, floats in float64.
        defined: whether the definition that the library writes of it can be computed.
    """

    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: Callable[..., np.ndarray]
    defined: bool = True

    def meant(self) -> np.ndarray:
        return self.expected(*(each.astype(np.float64) if each.dtype.kind == "f" else each for each in self.inputs))

    def made(self) -> tuple[tuple[int, ...], Any]:
        """Shape and type of the result."""
        meant = self.meant()
        kinds = {"b": np.bool_, "i": np.int32, "u": np.uint8}
        return meant.shape, kinds.get(
            meant.dtype.kind,
            np.float32 if meant.dtype.kind == "f" != self.inputs[-1].dtype.kind else self.inputs[-1].dtype,
        )


def normal(*shape: int, dtype: Any = F32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def unsigned(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


def torch_of(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """A function of tensors as one of arrays."""

    def of_arrays(*arrays: np.ndarray) -> np.ndarray:
        import torch

        return function(*(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)).numpy()

    return of_arrays


def stored(values: np.ndarray, kind: str) -> Callable[[Any], Any]:
    """A constant of a type that NumPy has not."""

    def constant(ca: Any) -> Any:
        from coreai.authoring.constant import constant as made

        return made(values, dtype=getattr(ca, kind))

    return constant

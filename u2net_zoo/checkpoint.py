"""A checkpoint: an architecture and a dictionary of named arrays, whatever file they came from."""

import functools
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .arch import Architecture, Unit
from .batch_norm import IDENTITY, batch_norm
from .dilation import Dilations, assumed
from .errors import AssumptionWarning, CheckpointError, NotANetworkError
from .identify import identify, named, shortlist, strip_prefix

__all__ = ["Checkpoint"]

ASSUMED = ("order", "epsilon", "dilation")  # notes on what a file does not say and its reader had to decide


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one network.

    Attributes:
        arch: the network.
        state: Torch state-dict keys (authors' names) to arrays: float32, kernels OIHW. `num_batches_tracked` (int64)
            is there only when the source had it: no inference reads it.
        meta: where the weights came from: `source` (file name), `sha256` …
    """

    arch: Architecture
    state: Mapping[str, np.ndarray]
    meta: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, np.ndarray],
        *,
        arch: Architecture | None = None,
        meta: Mapping[str, str] | None = None,
        dilations: Dilations = (),
        blocks: str | None = None,
    ) -> "Checkpoint":
        """Canonical checkpoint from a state dict of any float dtype, perhaps with a prefix such as `module.`.

        Args:
            arch: the network; None: keys and shapes tell.
            dilations, blocks: of the blocks, where `arch` is None; see `dilation.decided`.

        Raises:
            CheckpointError: the keys or shapes are not those of a U²-Net, or a value is not finite.
        """
        state = strip_prefix(state)
        meta = dict(meta or {})
        if arch is None:
            arch = identify({key: tuple(value.shape) for key, value in state.items()}, dilations, blocks)
            note = assumed(arch, dilations, blocks)
            meta |= {"dilation": note} if note else {}
        _check_shapes(arch, state)
        ordered = {key: _canonical(key, state[key]) for key in arch.state_shapes() if key in state}
        return cls(arch, ordered, meta)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over the architecture and every weight: equal networks have the same, whatever their `meta`."""
        found = hashlib.sha256(repr(self.arch).encode())
        for key, value in self.state.items():
            found.update(key.encode())
            found.update(np.ascontiguousarray(value).data)
        return found.hexdigest()

    @property
    def assumed(self) -> tuple[str, ...]:
        """What the source did not say, and what was taken for it; a sentence each."""
        return tuple(self.meta[key] for key in ASSUMED if key in self.meta)

    def warn(self, path: Path) -> None:
        """An AssumptionWarning for everything that `path`, where it was read, does not say."""
        for text in self.assumed:
            warnings.warn(f"{path}: {text}", AssumptionWarning, stacklevel=3)

    def full_state(self) -> dict[str, np.ndarray]:
        """The state dict with every key that Torch wants: a counter that the source lacked is 0."""
        return {key: self.state.get(key, np.zeros((), np.int64)) for key in self.arch.state_shapes()}

    def fold(self) -> "Checkpoint":
        """Batch norm folded into the convolutions, see `batch_norm`: computed in float64, rounded once to float32."""
        if self.arch.folded:
            return self
        state: dict[str, np.ndarray] = {}
        for unit in self.arch.units():
            state[f"{unit.conv_path}.weight"], state[f"{unit.conv_path}.bias"] = self._fold_unit(unit)
        return Checkpoint.from_state(state, arch=self.arch.fold(), meta=self.meta)

    def _fold_unit(self, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias, float32."""
        kernel, bias = (self.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        if not unit.norm:
            return kernel, bias
        gamma, beta, mean, var = (self.state[f"{unit.norm_path}.{leaf}"] for leaf in IDENTITY)
        kernel, bias = batch_norm(gamma, beta, mean, var).folded_into(kernel, bias)
        return kernel.astype(np.float32), bias.astype(np.float32)

    def unfold(self) -> "Checkpoint":
        """The same network under the authors' own keys: a folded unit gets an identity norm, and can be trained."""
        if not self.arch.folded:
            return self
        arch = named(self.arch.unfold())
        norms = {
            f"{unit.norm_path}.{leaf}": np.full(unit.out_ch, value, np.float32)
            for unit in arch.units()
            if unit.norm
            for leaf, value in IDENTITY.items()
        }
        return Checkpoint.from_state({**self.state, **norms}, arch=arch, meta=self.meta)

    def mask_alone(self) -> "Checkpoint":
        """Without the sides that d0 does not depend on: where nothing fuses them, all but the first."""
        if self.arch.fused:
            return self
        arch = replace(self.arch, side_count=1)
        return Checkpoint(arch, {key: self.state[key] for key in arch.state_shapes() if key in self.state}, self.meta)

    def with_final(self, final: str) -> "Checkpoint":
        """The same weights with outputs that are `"sigmoid"` or `"none"` (logits), where a file's graph tells."""
        return replace(self, arch=named(replace(self.arch, final=final)))

    def with_meta(self, **meta: str) -> "Checkpoint":
        return replace(self, meta={**self.meta, **meta})


def _check_shapes(arch: Architecture, state: Mapping[str, np.ndarray]) -> None:
    expected = arch.state_shapes()
    needed = {key for key in expected if not key.endswith("num_batches_tracked")}
    missing = [key for key in expected if key in needed and key not in state]
    extra = [key for key in state if key not in expected]
    found = {"missing": missing, "unexpected": extra}
    wrong = [f"{len(keys)} {what} ({shortlist(keys)})" for what, keys in found.items() if keys]
    if wrong:
        raise NotANetworkError(f"not a U²-Net: {'; '.join(wrong)}")
    for key, shape in expected.items():
        if key in needed and tuple(state[key].shape) != shape:
            raise CheckpointError(f"{key}: expected {shape} for {arch.name}, got {tuple(state[key].shape)}")


def _canonical(key: str, value: np.ndarray) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.asarray(value, np.int64).reshape(())
    if value.dtype.kind not in "fV" and value.dtype.name != "bfloat16":
        raise CheckpointError(f"{key}: expected floating-point weights, got {value.dtype}")
    array = np.ascontiguousarray(value, np.float32)
    if not np.isfinite(array).all():
        raise CheckpointError(f"{key}: holds NaN or infinity; these weights cannot be converted")
    if key.endswith("running_var") and (array < 0).any():
        raise CheckpointError(f"{key}: a variance is negative; these weights cannot be converted")
    return array

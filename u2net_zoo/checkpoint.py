"""A checkpoint: an architecture and a dictionary of named arrays, whatever file they came from."""

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .arch import BN_EPS, ISNET, STEM, U2NET, U2NET_NANO, U2NETP, Architecture, Unit, two_level
from .errors import CheckpointError

__all__ = ["KNOWN", "Checkpoint", "identify", "named", "strip_prefix"]

KNOWN = (U2NET, U2NETP, U2NET_NANO, ISNET)
ANCHOR = "stage1.rebnconvin.conv_s1.weight"
IDENTITY = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - BN_EPS}
SHOWN = 3  # how many keys of a kind an error names


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
    def from_folded(
        cls,
        pairs: Sequence[tuple[np.ndarray, np.ndarray | None]],
        *,
        final: str | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> "Checkpoint":
        """Canonical checkpoint, with identity norms, from folded convolutions; see `folded.checkpoint_of`."""
        from .folded import checkpoint_of

        return checkpoint_of(pairs, final=final, meta=meta)

    @classmethod
    def from_state(
        cls, state: Mapping[str, np.ndarray], *, arch: Architecture | None = None, meta: Mapping[str, str] | None = None
    ) -> "Checkpoint":
        """Canonical checkpoint from a state dict of any float dtype, perhaps with a prefix such as `module.`.

        Raises:
            CheckpointError: the keys or shapes are not those of a U²-Net, or a value is not finite.
        """
        state = strip_prefix(state)
        arch = arch or identify({key: tuple(value.shape) for key, value in state.items()})
        _check_shapes(arch, state)
        ordered = {key: _canonical(key, state[key]) for key in arch.state_shapes() if key in state}
        return cls(arch, ordered, dict(meta or {}))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over the architecture and every weight: equal networks have the same, whatever their `meta`."""
        found = hashlib.sha256(repr(self.arch).encode())
        for key, value in self.state.items():
            found.update(key.encode())
            found.update(np.ascontiguousarray(value).data)
        return found.hexdigest()

    def full_state(self) -> dict[str, np.ndarray]:
        """The state dict with every key that Torch wants: a counter that the source lacked is 0."""
        return {key: self.state.get(key, np.zeros((), np.int64)) for key in self.arch.state_shapes()}

    def fold(self) -> "Checkpoint":
        """Batch norm folded into the convolutions: computed in float64, rounded once to float32.

        w' = w * gamma / sqrt(var + eps), b' = (b - mean) * gamma / sqrt(var + eps) + beta
        """
        if self.arch.folded:
            return self
        state: dict[str, np.ndarray] = {}
        for unit in self.arch.units():
            weight, bias = self._folded(unit)
            state[f"{unit.conv_path}.weight"], state[f"{unit.conv_path}.bias"] = weight, bias
        return Checkpoint.from_state(state, arch=self.arch.fold(), meta=self.meta)

    def _folded(self, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = (self.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        if not unit.norm:
            return weight, bias
        gamma, beta, mean, var = (
            self.state[f"{unit.norm_path}.{leaf}"].astype(np.float64)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(var + BN_EPS)
        folded = weight.astype(np.float64) * scale[:, None, None, None]
        return folded.astype(np.float32), ((bias.astype(np.float64) - mean) * scale + beta).astype(np.float32)

    def unfold(self) -> "Checkpoint":
        """The same network under the authors' own keys: a folded unit gets an identity norm.

        gamma 1, beta 0, mean 0, var 1 − eps, so that the norm's gamma / sqrt(var + eps) is 1 to within float32.
        """
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

    def with_final(self, final: str) -> "Checkpoint":
        """The same weights with outputs that are `"sigmoid"` or `"none"` (logits), where a file's graph tells."""
        return replace(self, arch=named(replace(self.arch, final=final)))

    def with_meta(self, **meta: str) -> "Checkpoint":
        return replace(self, meta={**self.meta, **meta})


def strip_prefix(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state without a wrapper's prefix (`module.`, `model.`, `net.module.` …).

    Keys outside the prefix belong to the wrapper (a loss, say) and are left out.
    """
    prefixes = [key[: -len(ANCHOR)] for key in state if key.endswith("." + ANCHOR)]
    if ANCHOR in state or not prefixes:
        return dict(state)
    if len(prefixes) > 1:
        raise CheckpointError(
            f"holds {len(prefixes)} networks ({', '.join(sorted(prefixes))}); save the one that is meant"
        )
    (prefix,) = prefixes
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def identify(shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
    """The architecture that has these state-dict keys and shapes, at any width and any number of output channels.

    RSU-4 and RSU-4F hold tensors of the same names and shapes; the place tells them apart: the two deepest encoder
    stages and the first decoder stage of every published U²-Net are dilated. One output channel means a sigmoid mask,
    more mean one logit per class, as in the published clothes model.

    Raises:
        CheckpointError: some keys do not fit; names them.
    """
    depth = 0
    while f"stage{depth + 1}.rebnconvin.conv_s1.weight" in shapes:
        depth += 1
    if depth < 3 or "side1.weight" not in shapes:
        wanted = (*(f"stage{n}.rebnconvin.conv_s1.weight" for n in (1, 2, 3)), "side1.weight")
        missing = [key for key in wanted if key not in shapes]
        raise CheckpointError(f"not a U²-Net: without {_some(missing)}; it has {_some(shapes)}")
    if len(shapes["side1.weight"]) != 4:
        raise CheckpointError(f"side1.weight: expected a 4-D kernel, got {shapes['side1.weight']}")
    fused, stem = "outconv.weight" in shapes, shapes.get(f"{STEM}.weight")
    sides = sum(f"side{n}.weight" in shapes for n in range(1, depth + 1))
    encoder = [_stage(shapes, f"stage{n}", dilated=n > depth - 2) for n in range(1, depth + 1)]
    decoder = [_stage(shapes, f"stage{n}d", dilated=n == depth - 1) for n in range(depth - 1, 0, -1)]
    out_ch, final = shapes["side1.weight"][0], "sigmoid" if shapes["side1.weight"][0] == 1 else "none"
    in_ch, stem_ch = (stem[1], stem[0]) if stem and len(stem) == 4 else (shapes[ANCHOR][1], None)
    name = "u2net-custom" if stem_ch is None else "isnet-custom"
    arch = two_level(
        name, encoder, decoder, in_ch=in_ch, out_ch=out_ch, final=final, stem_ch=stem_ch, fused=fused or not stem_ch
    )
    if not arch.fused and sides < depth:
        arch = replace(arch, side_count=sides)
    if not any(".bn_s1." in key for key in shapes):
        arch = arch.fold()
    return named(arch)


def named(arch: Architecture) -> Architecture:
    """`arch`, under its published name where it has one, folded or not."""
    name = next((known.name for known in KNOWN if arch in (known, known.fold())), arch.name)
    return replace(arch, name=name)


def _stage(shapes: Mapping[str, tuple[int, ...]], path: str, dilated: bool) -> tuple[str, int, int]:
    levels = [int(m[1]) for key in shapes if (m := re.fullmatch(rf"{path}\.rebnconv(\d+)\.conv_s1\.weight", key))]
    entry, first = (shapes.get(f"{path}.{name}.conv_s1.weight") for name in ("rebnconvin", "rebnconv1"))
    if not entry or not first or len(entry) != 4 or len(first) != 4:
        raise CheckpointError(f"not a U²-Net: {path}.rebnconvin and {path}.rebnconv1 are missing or not 4-D kernels")
    return f"{max(levels)}{'F' if dilated and max(levels) == 4 else ''}", first[0], entry[0]


def _check_shapes(arch: Architecture, state: Mapping[str, np.ndarray]) -> None:
    expected = arch.state_shapes()
    needed = {key for key in expected if not key.endswith("num_batches_tracked")}
    missing = [key for key in expected if key in needed and key not in state]
    extra = [key for key in state if key not in expected]
    found = {"missing": missing, "unexpected": extra}
    wrong = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in found.items() if keys]
    if wrong:
        raise CheckpointError(f"not a U²-Net: {'; '.join(wrong)}")
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


def _some(keys: Mapping[str, object] | list[str]) -> str:
    names = list(keys)
    return ", ".join(names[:SHOWN]) + (f", … {len(names) - SHOWN} more" if len(names) > SHOWN else "")

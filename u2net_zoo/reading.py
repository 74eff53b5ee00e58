"""Weight files that keep the names: `.pth`, `.pt`, `.safetensors` -> Checkpoint. No pickled code is ever executed."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import Checkpoint
from .errors import CheckpointError, InputError, MissingExtraError, one_line
from .limits import check_size, open_zip

__all__ = ["read_checkpoint", "sha256_of"]

DEPTH = 4  # how deep a state dict may be nested: {"state": {"model": {...}}}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a `.pth`, `.pt` or `.safetensors` file; `meta` tells the file's name and sha256.

    Raises:
        InputError: no such file, or one of another kind.
        CheckpointError: the file is damaged, holds code, or is not a U²-Net's.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, not a weight file' if path.is_dir() else 'no such file'}")
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path}: cannot read weights from {path.suffix or 'such a file'}; allowed: {_allowed()}")
    try:
        state = read(path)
        return Checkpoint.from_state(state, meta={"source": path.name, "sha256": sha256_of(path)})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _allowed() -> str:
    return ", ".join(sorted(READERS))


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtraError(f"reading {path.name}", "torch", "torch") from None
    check_size(path.stat().st_size, "the file")
    if path.stat().st_size == 0:
        raise CheckpointError("the file is empty")
    if zipfile.is_zipfile(path):
        open_zip(path).close()  # what it would unpack to is checked before Torch unpacks it
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"refused: holds more than tensors, or is damaged ({one_line(error)})") from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise CheckpointError(f"damaged or not a Torch file ({one_line(error)})") from None
    tensors = _tensors(content, lambda value: isinstance(value, torch.Tensor))
    return {key: _to_numpy(value) for key, value in tensors.items()}


def _to_numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()


def _tensors(content: object, is_tensor: Callable[[object], bool], depth: int = 0) -> Mapping[str, Any]:
    """The state dict in whatever a training script saved: itself, or the one U²-Net nested in it, else the largest."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"holds no state dict but a {type(content).__name__}")
    states = dict(_states(content, is_tensor, "the file", depth))
    networks = {where: state for where, state in states.items() if any("stage1." in key for key in state)}
    if len(networks) > 1:
        raise CheckpointError(
            f"holds {len(networks)} networks ({', '.join(networks)}); save the one that is meant alone"
        )
    return max([*(networks or states).values(), {}], key=len)


def _states(
    content: Mapping[Any, Any], is_tensor: Callable[[object], bool], where: str, depth: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, tensors) of every dictionary of tensors, at most DEPTH deep."""
    own = {key: value for key, value in content.items() if isinstance(key, str) and is_tensor(value)}
    if own:
        yield where, own
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < DEPTH:
            yield from _states(value, is_tensor, f"{key!r}", depth + 1)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            if all(file.get_slice(name).get_dtype() != "BF16" for name in names):
                return {name: file.get_tensor(name) for name in names}
        with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
            return {name: _to_numpy(file.get_tensor(name)) for name in names}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"damaged or not a safetensors file ({one_line(error)})") from None


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".safetensors": _read_safetensors,
}

"""Weight files that keep the names, of Torch and safetensors -> Checkpoint. No pickled code is ever executed."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import torch_pickles
from .checkpoint import Checkpoint
from .containers import SAFETENSORS, TORCH, content_of, refuse_no_model
from .dilation import BLOCKS, kinds_of
from .errors import CheckpointError, InputError, MissingExtraError, OptionError, one_line
from .identify import ANCHOR, identify, strip_prefix
from .limits import check_size, open_zip
from .weight_words import own_words

__all__ = ["metadata_of_safetensors", "read_checkpoint", "sha256_of"]

Read = tuple[dict[str, np.ndarray], Mapping[str, str]]  # the state, and what the file says beside it
DEPTH = 4  # how deep a state dict may be nested: {"state": {"model": {...}}}


def read_checkpoint(path: str | Path, key: str | None = None, blocks: str | None = None) -> Checkpoint:
    """The checkpoint in a file of Torch or of safetensors, whatever it is called.

    `meta` tells its name and sha256, and what the file says of the weights; see `weight_words`.

    Args:
        key: which network is meant where the file holds several: `"ema"`, `"state_dict.generator"`.
        blocks: which blocks are dilated, where it does not say so; see `dilation.decided`.

    Raises:
        InputError: no such file, or one of another kind.
        CheckpointError: the file is damaged, holds code, is not a U²-Net's, or holds several and `key` names none.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, not a weight file' if path.is_dir() else 'no such file'}")
    refuse_no_model(path)
    content = content_of(path)
    read = next((read for sign, read in READERS.items() if sign.fits(content)), SUFFIXES.get(path.suffix.lower()))
    if read is None or (content.members and not any(sign.fits(content) for sign in READERS)):
        what = "an archive of another kind" if content.members else path.suffix or "such a file"
        raise InputError(f"{path}: cannot read weights from {what}; allowed: {', '.join(sorted(SUFFIXES))}")
    try:
        state, words = read(path, key)
        kinds = words.get(BLOCKS)
        if kinds is not None:
            _check_blocks(state, kinds, blocks)
        meta = {**own_words(words), "source": path.name, "sha256": sha256_of(path)}
        return Checkpoint.from_state(state, meta=meta, blocks=kinds if blocks is None else blocks)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _check_blocks(state: Mapping[str, np.ndarray], words: str, blocks: str | None) -> None:
    """Raises CheckpointError: what the file says of its blocks fits no network of these tensors. OptionError: `blocks`
    says otherwise."""
    shapes = {name: tuple(value.shape) for name, value in strip_prefix(state).items()}
    try:
        kinds = kinds_of(identify(shapes, blocks=words))
    except OptionError:
        raise CheckpointError(
            f"its metadata says {words[:40]!r} of its blocks, which does not fit its tensors"
        ) from None
    if blocks and kinds_of(identify(shapes, blocks=blocks)) != kinds:
        raise OptionError(f"--arch {blocks}: the file says {kinds}; leave --arch out")


def metadata_of_safetensors(path: Path) -> Mapping[str, str]:
    """What its header says beside the tensors. Raises CheckpointError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({one_line(error)})") from None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_torch(path: Path, key: str | None) -> Read:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtraError(f"reading {path.name}", "torch", "torch") from None
    check_size(path.stat().st_size, "the file")
    if zipfile.is_zipfile(path):
        open_zip(path).close()  # what it would unpack to is checked before Torch unpacks it
    try:
        content = torch_pickles.load(path)
    except pickle.UnpicklingError:
        raise CheckpointError(
            torch_pickles.refusal(path) or "refused: holds more than tensors and plain values, or is damaged"
        ) from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise CheckpointError(f"damaged or not a Torch file ({one_line(error)})") from None
    tensors = _network(content, lambda value: isinstance(value, torch.Tensor), key)
    return {name: _to_numpy(value) for name, value in tensors.items()}, {}


def _to_numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()


def _network(content: object, is_tensor: Callable[[object], bool], key: str | None) -> Mapping[str, Any]:
    """The state dict of the one U²-Net in whatever a training script saved, or of the one that `key` names.

    Without any, the largest dictionary of tensors, which says best what the file holds.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"holds no state dict but a {type(content).__name__}")
    states = dict(_states(content, is_tensor))
    networks = {name: found for where, state in states.items() for name, found in _networks(where, state)}
    names = ", ".join(sorted(networks))
    if key is not None:
        chosen = [name for name in networks if name == key] or [n for n in networks if key in n.split(".")]
        if len(chosen) != 1:
            raise CheckpointError(f"holds {'several networks' if chosen else 'no network'} {key!r}; it has: {names}")
        return networks[chosen[0]]
    if len(networks) > 1:
        raise CheckpointError(
            f"holds {len(networks)} networks ({names}); say which: u2zoo convert … --to safetensors --key NAME"
        )
    return max([*(networks or states).values(), {}], key=len)


def _networks(where: str, state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place and prefix, state without the prefix) of every network among a dictionary's tensors."""
    prefixes = [name[: -len(ANCHOR)] for name in state if f".{name}".endswith(f".{ANCHOR}")]
    for prefix in prefixes:
        others = tuple(other for other in prefixes if len(other) > len(prefix))
        inside = {name: value for name, value in state.items() if name.startswith(prefix)}
        own = {name: value for name, value in inside.items() if not (others and name.startswith(others))}
        yield ".".join(filter(None, (where, prefix.rstrip(".")))) or ".", {n[len(prefix) :]: v for n, v in own.items()}


def _states(
    content: Mapping[Any, Any], is_tensor: Callable[[object], bool], where: tuple[str, ...] = ()
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted place, tensors) of every dictionary of tensors, at most DEPTH deep."""
    own = {key: value for key, value in content.items() if isinstance(key, str) and is_tensor(value)}
    if own:
        yield ".".join(where), own
    for key, value in content.items():
        if isinstance(value, Mapping) and len(where) < DEPTH:
            yield from _states(value, is_tensor, (*where, str(key)))


def _read_safetensors(path: Path, key: str | None) -> Read:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = _network({name: name for name in file.keys()}, lambda value: True, key)  # noqa: SIM118
            words = file.metadata() or {}
            if all(file.get_slice(name).get_dtype() != "BF16" for name in names.values()):
                return {short: file.get_tensor(name) for short, name in names.items()}, words
        with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
            return {short: _to_numpy(file.get_tensor(name)) for short, name in names.items()}, words
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"damaged or not a safetensors file ({one_line(error)})") from None


READERS = {TORCH: _read_torch, SAFETENSORS: _read_safetensors}
SUFFIXES = {".pth": _read_torch, ".pt": _read_torch, ".ckpt": _read_torch, ".safetensors": _read_safetensors}

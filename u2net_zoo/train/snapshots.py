"""What a run leaves on disk to resume from, `step-NNNNNNN` in its folder. Written whole or not at all."""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, InputError, one_line
from ..files import staged

__all__ = [
    "KINDS",
    "Arrays",
    "latest",
    "load",
    "load_arrays",
    "other_data",
    "recipe_of",
    "save",
    "save_arrays",
    "weights_of",
]

KINDS = {"torch": ".pt", "keras": ".safetensors"}
KEEP = 3
FORMAT = 1
NEEDED = ("format", "recipe", "model", "optimizer", "pairs", "step", "best", "stale")
NOTES = "run"  # the key of what is no array in the metadata of a `.safetensors`


@dataclass(frozen=True)
class Arrays:
    """What Keras resumes from.

    Attributes:
        model: the weights under Torch's keys, as in a checkpoint.
        optimizer: its variables, in the order in which Keras lists them.
        notes: recipe, pairs, step, best, stale, skipped; numbers, texts and dictionaries of them.
    """

    model: dict[str, np.ndarray]
    optimizer: list[np.ndarray]
    notes: dict[str, Any]


def save(content: dict[str, Any], folder: Path) -> Path:
    """Torch's `folder/step-NNNNNNN.pt`; of the earlier ones the newest are kept.

    Raises:
        OutputError: cannot be written (the disk is full, say); every earlier snapshot is as it was.
    """
    import torch

    target = _path_of(folder, content["step"], "torch")
    packed = io.BytesIO()  # Torch itself hides a full disk behind a RuntimeError about positions
    torch.save({"format": FORMAT, **content}, packed)
    with staged(target) as beside:
        beside.write_bytes(packed.getbuffer())
    _keep_newest(folder, "torch")
    return target


def load(path: Path) -> dict[str, Any]:
    """The content of Torch's snapshot; executes no pickled code. Raises CheckpointError."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise _damage_error(path, error) from None
    return _check_complete(path, content, NEEDED)


def save_arrays(content: Arrays, folder: Path) -> Path:
    """Keras' `folder/step-NNNNNNN.safetensors`; otherwise as `save`."""
    from safetensors.numpy import save as pack

    target = _path_of(folder, content.notes["step"], "keras")
    arrays = {f"model.{key}": np.array(value, order="C") for key, value in content.model.items()}
    arrays |= {f"optimizer.{n}": np.array(value, order="C") for n, value in enumerate(content.optimizer)}
    with staged(target) as beside:
        beside.write_bytes(pack(arrays, metadata={NOTES: json.dumps({"format": FORMAT, **content.notes})}))
    _keep_newest(folder, "keras")
    return target


def load_arrays(path: Path) -> Arrays:
    """The content of Keras' snapshot. Raises CheckpointError."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            notes = json.loads((file.metadata() or {}).get(NOTES, "{}"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except Exception as error:  # a damaged file fails in several ways inside safetensors
        raise _damage_error(path, error) from None
    _check_complete(path, notes, [name for name in NEEDED if name not in ("model", "optimizer")])
    model = {key.removeprefix("model."): value for key, value in arrays.items() if key.startswith("model.")}
    return Arrays(model, [arrays[f"optimizer.{n}"] for n in range(len(arrays) - len(model))], notes)


def recipe_of(path: Path) -> dict[str, Any]:
    """The recipe of either engine's snapshot. Raises CheckpointError."""
    return load_arrays(path).notes["recipe"] if path.suffix == KINDS["keras"] else load(path)["recipe"]


def weights_of(path: Path) -> Checkpoint:
    """The weights in either engine's snapshot, those of the last step. Raises CheckpointError."""
    if path.suffix == KINDS["keras"]:
        return Checkpoint.from_state(load_arrays(path).model)
    return Checkpoint.from_state({key: value.numpy() for key, value in load(path)["model"].items()})


def latest(source: str | Path, engine: str = "torch") -> Path:
    """The snapshot that `source` names: a file, or that engine's newest in a run's folder. Raises InputError."""
    path = Path(source)
    other = next(name for name in KINDS if name != engine)
    if path.is_dir():
        found = _list_all(path, engine)
        if not found:
            hint = f"; those of --engine {other} are there" if _list_all(path, other) else ""
            raise InputError(f"{path}: holds no snapshot step-*{KINDS[engine]} to resume from{hint}")
        return found[-1]
    if not path.is_file():
        raise InputError(
            f"{path}: no such file or folder to resume from; name a run's folder, or a snapshot step-* in it"
        )
    if path.suffix == KINDS[other]:
        raise InputError(f"{path}: not a snapshot of --engine {engine}; --engine {other} reads {path.suffix}")
    return path


def other_data(before: int, now: int) -> InputError:
    """The error of a run that would go on with other photographs than it began with."""
    return InputError(
        f"the run was on {before} photographs, now there are {now}; name the same folders, and --val-part as before"
    )


def _path_of(folder: Path, step: int, engine: str) -> Path:
    return folder / f"step-{step:07d}{KINDS[engine]}"


def _keep_newest(folder: Path, engine: str) -> None:
    for old in _list_all(folder, engine)[:-KEEP]:
        old.unlink(missing_ok=True)


def _list_all(folder: Path, engine: str) -> list[Path]:
    suffix = KINDS[engine]
    found = folder.glob(f"step-*{suffix}")
    return sorted(path for path in found if re.fullmatch(r"step-\d{7,}", path.name.removesuffix(suffix)))


def _check_complete(path: Path, content: Any, needed: Any) -> dict[str, Any]:
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise CheckpointError(
            f"{path}: not a snapshot of a training run (no {', '.join(missing)}); to start from weights use --finetune"
        )
    return content


def _damage_error(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: damaged, or not a snapshot of a training run ({one_line(error)})")

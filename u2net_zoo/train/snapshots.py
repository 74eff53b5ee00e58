"""What a run leaves on disk: snapshots to resume from and the weights to use. Written whole or not at all."""

import re
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, InputError, one_line
from ..files import staged

__all__ = ["latest", "load", "save"]

KEEP = 3
FORMAT = 1
NEEDED = ("format", "recipe", "model", "optimizer", "pairs", "step", "best", "stale")


def save(content: dict[str, Any], folder: Path) -> Path:
    """`folder/step-NNNNNNN.pt`; of the earlier ones the newest are kept.

    Raises:
        OutputError: cannot be written (the disk is full, say); every earlier snapshot is as it was.
    """
    target = folder / f"step-{content['step']:07d}.pt"
    with staged(target) as beside:
        torch.save({"format": FORMAT, **content}, beside)
    for old in _all(folder)[:-KEEP]:
        old.unlink(missing_ok=True)
    return target


def latest(source: str | Path) -> Path:
    """The snapshot that `source` names: a file, or the newest in a run's folder. Raises InputError."""
    path = Path(source)
    if path.is_dir():
        found = _all(path)
        if not found:
            raise InputError(f"{path}: holds no snapshot step-*.pt to resume from")
        return found[-1]
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder to resume from")
    return path


def load(path: Path) -> dict[str, Any]:
    """A snapshot's content; executes no pickled code. Raises CheckpointError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise CheckpointError(f"{path}: damaged, or not a snapshot of a training run ({one_line(error)})") from None
    missing = [key for key in NEEDED if not isinstance(content, dict) or key not in content]
    if missing:
        raise CheckpointError(
            f"{path}: not a snapshot of a training run (no {', '.join(missing)}); to start from weights use --finetune"
        )
    return content


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.pt") if re.fullmatch(r"step-\d{7,}\.pt", path.name))

"""Trained weights on disk."""

from pathlib import Path

from ..checkpoint import Checkpoint
from ..files import staged

__all__ = ["write_weights"]


def write_weights(checkpoint: Checkpoint, path: Path, **meta: str) -> None:
    """The weights as safetensors. Raises OutputError."""
    from safetensors.numpy import save_file

    with staged(path) as beside:
        save_file(dict(checkpoint.full_state()), beside, metadata={"arch": checkpoint.arch.name, **meta})

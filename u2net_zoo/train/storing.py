"""Trained weights on disk."""

from pathlib import Path

from ..checkpoint import Checkpoint
from ..files import staged

__all__ = ["write_weights"]


def write_weights(checkpoint: Checkpoint, path: Path, **meta: str) -> None:
    """The weights as safetensors. Raises OutputError."""
    from safetensors.numpy import save

    packed = save(dict(checkpoint.full_state()), metadata={"arch": checkpoint.arch.name, **meta})
    with staged(path) as beside:
        beside.write_bytes(packed)  # its own save_file hides a full disk behind an error of its own

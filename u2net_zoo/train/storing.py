"""Trained weights on disk."""

from pathlib import Path

from ..checkpoint import Checkpoint
from ..dilation import BLOCKS, kinds_of
from ..files import staged

__all__ = ["write_weights"]


def write_weights(checkpoint: Checkpoint, path: Path, **meta: str) -> None:
    """The weights as safetensors. Raises OutputError."""
    from safetensors.numpy import save

    said = {"arch": checkpoint.arch.name, BLOCKS: kinds_of(checkpoint.arch), **meta}
    packed = save(dict(checkpoint.full_state()), metadata=said)
    with staged(path) as beside:
        beside.write_bytes(packed)  # its own save_file hides a full disk behind an error of its own

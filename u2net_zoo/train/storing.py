"""Trained weights on disk."""

from pathlib import Path

from ..arch import Architecture
from ..checkpoint import Checkpoint
from ..dilation import BLOCKS, kinds_of
from ..errors import OptionError
from ..files import staged
from .recipe import Recipe

__all__ = ["check_channels", "write_weights"]


def check_channels(arch: Architecture, recipe: Recipe) -> None:
    """Raises OptionError: the network's outputs are not what the recipe learns, or its input is not the profile's."""
    if arch.in_ch != recipe.in_ch:
        raise OptionError(f"{arch.name} takes {arch.in_ch} channels; profile {recipe.profile} has {recipe.in_ch}")
    if arch.out_ch != recipe.out_ch:
        wanted = f"{recipe.out_ch} classes" if recipe.classes else "masks"
        raise OptionError(f"{arch.name} has {arch.out_ch} output channels; the recipe learns {wanted}")


def write_weights(checkpoint: Checkpoint, path: Path, **meta: str) -> None:
    """The weights as safetensors. Raises OutputError."""
    from safetensors.numpy import save

    said = {"arch": checkpoint.arch.name, BLOCKS: kinds_of(checkpoint.arch), **meta}
    packed = save(dict(checkpoint.full_state()), metadata=said)
    with staged(path) as beside:
        beside.write_bytes(packed)  # its own save_file hides a full disk behind an error of its own

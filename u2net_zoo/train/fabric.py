"""Lightning Fabric: the engine that the Torch loop runs on, and the model as it wants it."""

from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from lightning.fabric.accelerators import ACCELERATOR_REGISTRY
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from ..errors import MissingExtraError, OptionError, one_line
from ..torch_model import U2Net
from .recipe import Recipe
from .setting import Setting

__all__ = ["Logits", "make_fabric"]


class Logits(nn.Module):
    """`U2Net.logits` as a forward, which is what the distributed wrapper intercepts."""

    def __init__(self, core: U2Net):
        super().__init__()
        self.core = core

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.core.logits(image)


def make_fabric(recipe: Recipe, setting: Setting) -> Fabric:
    """The engine; its further processes, if any, start here and run the same program.

    Raises:
        OptionError: this machine has no such accelerator, or not so many devices.
    """
    here = [name for name, entry in ACCELERATOR_REGISTRY.items() if entry["accelerator"].is_available()]
    here = ["auto", *here, *(["gpu"] if {"cuda", "mps"} & {*here} else [])]
    if setting.accelerator not in here:
        raise OptionError(f"accelerator {setting.accelerator!r}; this machine has: {', '.join(here)}")
    loggers = [_tensorboard(setting.out)] if setting.logs else []
    try:
        fabric = Fabric(
            accelerator=setting.accelerator,
            devices=setting.devices,
            num_nodes=setting.nodes,
            strategy=setting.strategy,
            precision=recipe.precision,  # type: ignore[arg-type]
            loggers=loggers,
        )
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise OptionError(
            f"--accelerator {setting.accelerator} --devices {setting.devices}: {one_line(error)}"
        ) from None
    fabric.launch()
    return fabric


def _tensorboard(out: Path) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(root_dir=out, name="logs", version="")
    except ModuleNotFoundError:
        raise MissingExtraError("TensorBoard logs", "tensorboard", "train") from None

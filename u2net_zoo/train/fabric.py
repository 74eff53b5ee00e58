"""Lightning Fabric: the engine that the Torch loop runs on, and the model as it wants it."""

from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor, nn

from ..errors import MissingExtraError
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
    """The engine; its further processes, if any, start here and run the same program."""
    fabric = Fabric(
        accelerator=setting.accelerator,
        devices=setting.devices,
        num_nodes=setting.nodes,
        strategy=setting.strategy,
        precision=recipe.precision,  # type: ignore[arg-type]
        loggers=[_tensorboard(setting.out)] if setting.logs else [],
    )
    fabric.launch()
    return fabric


def _tensorboard(out: Path) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(root_dir=out, name="logs", version="")
    except ModuleNotFoundError:
        raise MissingExtraError("TensorBoard logs", "tensorboard", "train") from None

"""What `train_nano.py` asks of the student: everything that the teacher answers, or what its deep stages do."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from u2net_zoo import torch_model
from u2net_zoo.arch import RSU, Architecture, Unit
from u2net_zoo.torch_model import U2Net

__all__ = ["BATCH", "Lesson"]

BATCH = 8
FEATURE_WEIGHT = 0.4
FARTHEST = 25  # squared distance of a feature, in its own spreads, beyond which it counts no more
AROUND = ("stage1", "stage1d")  # their features are not compared: the outputs say enough


class Walk(torch_model._TorchOps):
    """The network from stage `inward` + 1 on; `maps` holds what its blocks answer."""

    def __init__(self, model: U2Net, inward: int):
        super().__init__(model)
        self.inward = inward
        self.maps: dict[str, Tensor] = {}

    def conv(self, unit: Unit, x: Tensor) -> Tensor:
        name = unit.name.removeprefix("side")
        return getattr(self.scope, f"side{int(name) + self.inward}" if name.isdigit() else unit.name)(x)

    def block(self, block: RSU, x: Tensor) -> Tensor:
        self.maps[block.path] = super().block(block, x)
        return self.maps[block.path]


class Lesson:
    """Binary cross-entropy to the teacher's outputs, summed over them, plus the distance to its stages' features.

    Args:
        kept: unit path -> the teacher's channels that the student has.
        inward: stages that are left as they are on either side; the outputs are then the sides of the others, as large
            as the first of them.
        bfloat16: whether the student computes in bfloat16, which is quick where the processor has it.
    """

    def __init__(self, teacher: U2Net, student: U2Net, kept: dict[str, list[int]], inward: int, bfloat16: bool):
        self.teacher, self.student, self.inward, self.bfloat16 = teacher, student, inward, bfloat16
        inner = self.inner(student.arch)
        self.kept = {b.path: kept[f"{b.path}.rebnconvin"] for b in inner.blocks if b.path not in AROUND}
        sides = [f"side{n + inward}" for n in range(1, len(inner.sides) + 1)]
        learning = [*(b.path for b in inner.blocks), *sides, *(["outconv"] if inner.fused else [])]
        student.requires_grad_(False)
        for name in learning:
            getattr(student, name).requires_grad_(True)

    def inner(self, arch: Architecture) -> Architecture:
        """The network without `inward` stages on either side."""
        count = self.inward
        if not count:
            return arch
        return replace(arch, encoder=arch.encoder[count:], decoder=arch.decoder[:-count], fused=False)

    def enter(self, model: U2Net, x: Tensor) -> Tensor:
        """What a picture becomes before the first stage that learns."""
        for block in model.arch.encoder[: self.inward]:
            x = F.max_pool2d(getattr(model, block.path)(x), 2, 2, ceil_mode=True)
        return x

    def answers(self, model: U2Net, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, (N, outputs, H, W), and features."""
        walk = Walk(model, self.inward)
        return torch.cat(self.inner(model.arch).run(walk, x), 1), walk.maps

    @torch.no_grad()
    def label(self, pictures: Tensor) -> dict[str, Any]:
        """All that `loss` needs of the pictures (N, 3, S, S), computed once."""
        rows: dict[str, list[Tensor]] = {}
        for batch in pictures.split(BATCH):
            x = batch.contiguous(memory_format=torch.channels_last)
            logits, maps = self.answers(self.teacher, self.enter(self.teacher, x))
            values = {name: maps[name][:, channels].half() for name, channels in self.kept.items()}
            for name, value in {**values, "x": self.enter(self.student, x), "y": logits.sigmoid().half()}.items():
                rows.setdefault(name, []).append(value)
        return {name: torch.cat(values) for name, values in rows.items()}

    def loss(self, labels: dict[str, Tensor], pick: Tensor) -> Tensor:
        x = labels["x"][pick].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits, maps = self.answers(self.student, x)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels["y"][pick].float()) * logits.shape[1]
        for name in self.kept:
            spread = labels[name].float().std((0, 2, 3), keepdim=True) + 0.05
            gap = (maps[name].float() - labels[name][pick].float()) / spread
            loss = loss + FEATURE_WEIGHT * gap.square().clamp(max=FARTHEST).mean()
        return loss

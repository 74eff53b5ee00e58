"""A variant that is about in public: every block one level deeper, the deepest stages dilated at height five.

Written out here over again, from its description, beside `u2net_zoo.torch_model`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

STAGES = ((8, False), (7, False), (6, False), (5, False), (5, True), (5, True))
MID, OUT = 4, 8


class Unit(nn.Module):
    def __init__(self, taken: int, made: int, step: int = 1):
        super().__init__()
        self.conv_s1 = nn.Conv2d(taken, made, 3, padding=step, dilation=step)
        self.bn_s1 = nn.BatchNorm2d(made)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)))


class Block(nn.Module):
    def __init__(self, taken: int, height: int, dilated: bool):
        super().__init__()
        self.height, self.dilated = height, dilated
        self.rebnconvin = Unit(taken, OUT)
        for level in range(1, height):
            step = 2 ** (level - 1) if dilated else 1
            setattr(self, f"rebnconv{level}", Unit(OUT if level == 1 else MID, MID, step))
            setattr(self, f"rebnconv{level}d", Unit(2 * MID, OUT if level == 1 else MID, step))
        setattr(self, f"rebnconv{height}", Unit(MID, MID, 2 ** (height - 1) if dilated else 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        start = self.rebnconvin(x)
        return start + self.level(start, 1)

    def level(self, x: torch.Tensor, n: int) -> torch.Tensor:
        here: Any = getattr(self, f"rebnconv{n}")(x)
        if n == self.height:
            return here
        pooled = here if self.dilated or n == self.height - 1 else F.max_pool2d(here, 2, 2, ceil_mode=True)
        below = self.level(pooled, n + 1)
        return getattr(self, f"rebnconv{n}d")(torch.cat((resized(below, here), here), 1))


class Deeper(nn.Module):
    """Image (N, 3, H, W) -> d0, d1 … d6 in [0, 1]. `reverse`: the sides are fused from the deepest to the first."""

    def __init__(self, reverse: bool = False):
        super().__init__()
        self.reverse = reverse
        for n, (height, dilated) in enumerate(STAGES, 1):
            setattr(self, f"stage{n}", Block(3 if n == 1 else OUT, height, dilated))
            setattr(self, f"side{n}", nn.Conv2d(OUT, 1, 3, padding=1))
            if n < len(STAGES):
                setattr(self, f"stage{n}d", Block(2 * OUT, height, dilated))
        self.outconv = nn.Conv2d(len(STAGES), 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps, y = [], x
        for n in range(1, len(STAGES) + 1):
            y = getattr(self, f"stage{n}")(F.max_pool2d(y, 2, 2, ceil_mode=True) if maps else y)
            maps.append(y)
        found = [maps.pop()]
        for n in range(len(STAGES) - 1, 0, -1):
            skip = maps.pop()
            found.append(getattr(self, f"stage{n}d")(torch.cat((resized(found[-1], skip), skip), 1)))
        first, *deeper = (getattr(self, f"side{n}")(m) for n, m in enumerate(reversed(found), 1))
        sides = [first, *(F.interpolate(side, first.shape[2:], mode="bilinear") for side in deeper)]
        fused = self.outconv(torch.cat(sides[::-1] if self.reverse else sides, 1))
        return tuple(torch.sigmoid(m) for m in (fused, *sides))


def resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear")

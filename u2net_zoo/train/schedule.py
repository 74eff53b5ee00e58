"""The learning rate as a function of the step, so that no schedule has a state to lose."""

import math
from typing import Any

from .recipe import Recipe

__all__ = ["rate_at", "steps_per_epoch", "total_steps"]

FLOOR = 0.01  # a cosine ends at this part of the rate


def rate_at(recipe: Recipe, step: Any, total: int, *, least: Any = min, cosine: Any = math.cos) -> Any:
    """The rate of step `step`, counted from 0, of `total`: linear warm-up, then constant or half a cosine.

    Args:
        step: a number; or a tensor, with its framework's element-wise `least` and `cosine`.
    """
    warm = least(1.0, (step + 1) / (recipe.warmup + 1))
    if recipe.schedule == "constant":
        return recipe.rate * warm
    part = least(1.0, step / max(1, total))
    return recipe.rate * warm * (FLOOR + (1 - FLOOR) * (1 + cosine(math.pi * part)) / 2)


def steps_per_epoch(pairs: int, batch: int) -> int:
    return math.ceil(pairs / batch)


def total_steps(recipe: Recipe, pairs: int) -> int:
    return recipe.steps or recipe.epochs * steps_per_epoch(pairs, recipe.batch)

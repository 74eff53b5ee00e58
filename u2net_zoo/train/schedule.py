"""The learning rate as a function of the step, so that no schedule has a state to lose."""

import math

from .recipe import Recipe

__all__ = ["rate_at", "steps_per_epoch", "total_steps"]

FLOOR = 0.01  # a cosine ends at this part of the rate


def rate_at(recipe: Recipe, step: int, total: int) -> float:
    """The rate of step `step`, counted from 0, of `total`: linear warm-up, then constant or half a cosine."""
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    if recipe.schedule == "constant":
        return recipe.rate * warm
    part = min(1.0, step / max(1, total))
    return recipe.rate * warm * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * part)) / 2)


def steps_per_epoch(pairs: int, batch: int) -> int:
    return math.ceil(pairs / batch)


def total_steps(recipe: Recipe, pairs: int) -> int:
    return recipe.steps or recipe.epochs * steps_per_epoch(pairs, recipe.batch)

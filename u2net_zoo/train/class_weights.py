"""What a pixel of each class counts in the loss."""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .labels import IGNORED, Labels, labels_of
from .pairs import Pair, label
from .recipe import BALANCED, Recipe

__all__ = ["balanced", "pixels_of_classes", "weights_for"]


def weights_for(recipe: Recipe, pairs: Sequence[Pair]) -> np.ndarray | None:
    """(classes,) float32; None: all alike. Raises InputError: a class to be balanced occurs in no mask."""
    if recipe.class_weights != BALANCED:
        return None if recipe.weight_list is None else np.asarray(recipe.weight_list, np.float32)
    labels = labels_of(recipe)
    counts = np.sum([pixels_of_classes(pair, labels) for pair in pairs], axis=0)
    missing = [name for name, count in zip(labels.classes, counts, strict=True) if not count]
    if missing:
        raise InputError(
            f"class weights {BALANCED}: {', '.join(missing)} occurs in no mask; name weights, or other classes"
        )
    return balanced(counts)


def balanced(pixels: np.ndarray) -> np.ndarray:
    """Median frequency balancing: the median class counts 1, a rarer one more.

    Source: D. Eigen, R. Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale
    Convolutional Architecture", ICCV 2015, section 6.3.2; with frequencies over all pixels.
    """
    return (np.median(pixels) / pixels).astype(np.float32)


def pixels_of_classes(pair: Pair, labels: Labels) -> np.ndarray:
    """(classes,) int64: how many pixels of the pair's mask each class has. Raises ImageError, InputError."""
    indices = label(pair, labels).astype(np.int64)
    return np.bincount(indices[indices != IGNORED], minlength=len(labels.classes))

"""Batches for Keras, as a `tf.data` stream, in the order and with the pictures that Torch is given."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import MissingExtraError
from ..keras_model import build, load_keras_module
from .augment import Augment
from .pairs import Pair
from .recipe import Recipe
from .samples import Order, Sample, Samples
from .schedule import steps_per_epoch

__all__ = ["Counted", "Teacher", "dataset", "teacher_of"]

Teacher = Callable[[np.ndarray], list[np.ndarray]]
"""(N, S, S, 3) float32 -> the seven outputs, (N, S, S, 1) in [0, 1] each."""


class Counted(Samples):
    """Samples that count the photographs which they had to pass over."""

    def __init__(self, pairs: list[Pair], augment: Augment):
        super().__init__(pairs, augment)
        self.skipped: dict[str, int] = {}

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        sample = super().__getitem__(key)
        for name, _ in sample.skipped:
            self.skipped[name] = self.skipped.get(name, 0) + 1
        return sample


def dataset(
    samples: Samples,
    recipe: Recipe,
    side: int,
    steps: int,
    outputs: int,
    teacher: Teacher | None = None,
    first: int = 0,
) -> Any:
    """A `tf.data.Dataset` of batches `first` … `steps` - 1, those that Torch is given: (image, targets), channels last.

    S is `side`, the size of the pictures. image: (N, S, S, C); targets: `outputs` maps (N, S, S, 1), the mask over and
    over or the teacher's answers.
    """
    tf = _tensorflow()
    # Sizes are spelt out: Keras' bilinear upsampling fails in graph mode on a map of unknown height and width.
    plane = tf.TensorSpec((None, side, side, 1), tf.float32)
    signature = (tf.TensorSpec((None, side, side, recipe.in_ch), tf.float32), (plane,) * outputs)

    def generate() -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
        for keys in _keys(len(samples), recipe, steps, first):
            drawn = [samples[key] for key in keys]
            image = _stack([sample.image for sample in drawn])
            if teacher is not None:
                yield image, tuple(teacher(image))
            else:
                mask = _stack([sample.mask for sample in drawn if sample.mask is not None])
                yield image, (mask,) * outputs

    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(tf.data.AUTOTUNE)


def teacher_of(checkpoint: Checkpoint) -> Teacher:
    """What the checkpoint answers in evaluation."""
    model = build(checkpoint.with_final("sigmoid"))
    to_numpy = load_keras_module().ops.convert_to_numpy
    return lambda image: [to_numpy(plane) for plane in model(image, training=False)]


def _keys(pairs: int, recipe: Recipe, steps: int, first: int) -> Iterator[list[tuple[int, int]]]:
    """The batches of a run from step `first` on, epoch after epoch."""
    per_epoch = steps_per_epoch(pairs, recipe.batch)
    while first < steps:
        epoch, begun = divmod(first, per_epoch)
        yield from itertools.islice(Order(pairs, recipe.batch, recipe.seed, epoch, begun), steps - first)
        first += per_epoch - begun


def _stack(planes: list[np.ndarray]) -> np.ndarray:
    """(C, S, S) each to (N, S, S, C)."""
    return np.ascontiguousarray(np.stack(planes).transpose(0, 2, 3, 1))


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ModuleNotFoundError:
        raise MissingExtraError("Keras training", "tensorflow", "train") from None
    return tensorflow

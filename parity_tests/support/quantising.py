"""Networks and settings for the tests of quantisation, of which a claim needs no more."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.hard_weights import hard_weights

from converters import sample_images
from converters.quantise import integer_layers as integer_plan
from converters.quantise import mixed_precision as plan
from u2net_zoo.arch import two_level
from u2net_zoo.checkpoint import Checkpoint


@contextmanager
def few_photographs(count: int = 2) -> Iterator[None]:
    """Layers are measured on one photograph, and the search and the proof take the first `count`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_images, "BUNDLED", sample_images.BUNDLED[:count])
        for module in (plan, integer_plan):
            patch.setattr(module, "RANKED_ON", 1)
        yield


def few_layers() -> Checkpoint:
    """A network of a single block: hard weights, which few bits ruin."""
    arch = two_level("few", [("4", 16, 32)], [])
    return Checkpoint.from_state(hard_weights(arch.state_shapes(), 1, 1.0), arch=arch)

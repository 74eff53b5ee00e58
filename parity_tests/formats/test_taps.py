"""What runtimes show of a network's inside is each unit's own value, whatever the file's outputs are called."""

import numpy as np
import pytest
from support.artifacts import ALL
from support.lasting import full_for

from converters import FORMATS, Options
from converters.torch_predictor import TorchPredictor

WHOLE = Options(size=(64, 64), outputs="all")


@pytest.fixture(scope="module")
def right(small) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    return x, dict(TorchPredictor(small.fold()).taps(x, small.arch))


INSIDE = [name for name in ALL if FORMATS[name].has_graph and FORMATS[name].inner_values]


@pytest.mark.parametrize("name", full_for(INSIDE, "h5"))
def test_each_unit_shows_its_own_value(name, made, small, right):
    x, expected = right
    found = dict(FORMATS[name].run(made.one(name, WHOLE).path, exact=True).taps(x, small.arch))
    assert len(found) > 0.9 * len(expected)
    for path, value in found.items():
        assert value.shape == expected[path].shape, path
        largest = max(float(np.abs(expected[path]).max()), 1e-6)
        assert float(np.abs(value - expected[path]).max()) <= 1e-4 * largest, path

"""What masks need of image processing gives the numbers of the libraries that it stands in for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops
from skimage.morphology import disk, opening

from u2net_zoo.apps.filters import connected_parts, gaussian, opened

SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))
PLANES = SIDES.flatmap(lambda size: arrays(np.uint8, size))


@settings(max_examples=60, deadline=None)
@given(PLANES, st.floats(0.3, 5))
def test_a_gaussian_is_scipys_to_the_bit(plane, sigma):
    plane = plane.astype(np.float64)
    np.testing.assert_array_equal(gaussian(plane, sigma), gaussian_filter(plane, sigma))


@settings(max_examples=60, deadline=None)
@given(PLANES)
def test_an_opening_is_scikit_images(plane):
    np.testing.assert_array_equal(opened(plane), opening(plane, disk(1)))


def same_parts(inside, levels):
    expected = [
        ((p.bbox[1], p.bbox[0], p.bbox[3], p.bbox[2]), int(p.area), float(p.intensity_mean))
        for p in regionprops(label(inside, connectivity=2), levels)
    ]
    assert [(p.box, p.area, p.mean) for p in connected_parts(inside, levels)] == expected


@settings(max_examples=100, deadline=None)
@given(SIDES, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_parts_are_scikit_images(size, share, seed):
    rng = np.random.default_rng(seed)
    same_parts(rng.random(size) < share, rng.integers(0, 256, size, np.uint8))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_spiral_is_one_part(turns):
    """Runs that meet only after many rows."""
    n = 61
    inside = np.zeros((n, n), bool)
    left, top, right, bottom = 0, 0, n - 1, n - 1
    while right - left > 2 and bottom - top > 2:
        inside[top, left : right + 1] = True
        inside[top : bottom + 1, right] = True
        inside[bottom, left + 2 : right + 1] = True
        inside[top + 2 : bottom + 1, left + 2] = True
        left, top, right, bottom = left + 2, top + 2, right - 2, bottom - 2
    inside = np.ascontiguousarray(np.rot90(inside, turns))
    same_parts(inside, np.full(inside.shape, 200, np.uint8))

"""Cut-outs: edges, the object's own colours, matting."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageChops
from scipy import ndimage
from support import closed_form
from support.data import SEARCHED
from support.photographs import in_mode, photograph

from u2net_zoo.apps import cutout
from u2net_zoo.apps.bands import WORKING, bands, enlarged, working
from u2net_zoo.apps.foreground import object_colours
from u2net_zoo.apps.matting import Trimap, matted
from u2net_zoo.apps.refine import thresholded


def test_a_cutout_without_cleaning_is_rembgs_putalpha(cat, mask):
    expected = cat.copy()
    expected.putalpha(mask)
    assert cutout(cat, mask, clean=False) == expected


def test_rembgs_default_is_that_cutout_times_alpha(cat, mask):
    """Its naive way pastes onto transparent black, which darkens the colours by alpha once more than PNG means."""
    naive = np.asarray(Image.composite(cat, Image.new("RGBA", cat.size, 0), mask), int)
    ours = np.asarray(cutout(cat, mask, clean=False), int)
    assert np.array_equal(naive[..., 3], ours[..., 3])
    assert np.abs(naive[..., :3] - ours[..., :3] * ours[..., 3:] / 255).max() <= 0.51


def test_a_clean_cutout_keeps_certain_pixels_and_nothing_of_the_background(cat, mask):
    mask = mask.point([0 if level < 8 else 255 if level > 247 else level for level in range(256)])
    cut, alpha = np.asarray(cutout(cat, mask)), np.asarray(mask)
    assert np.array_equal(cut[alpha == 255][:, :3], np.asarray(cat)[alpha == 255])
    assert not cut[alpha == 0].any()
    assert (alpha == 255).any()
    assert (alpha == 0).any()


def edge_error(colours, truth, alpha) -> float:
    """Mean error of 255 where alpha is soft, weighted by alpha."""
    share = np.asarray(alpha, float) / 255
    soft = (share > 0.02) & (share < 0.98)
    error = np.abs(np.asarray(colours, float) - truth).mean(axis=-1)
    return float((error * share)[soft].sum() / share[soft].sum())


def test_no_halo_of_the_old_background_stays(mixed):
    truth, image, alpha = mixed
    assert edge_error(image, truth, alpha) > 25  # measured 28.1 on 2026-11-21
    assert edge_error(object_colours(image, alpha), truth, alpha) < 12.5  # 11.6; PyMatting's 12.1


def test_a_large_photograph_keeps_its_detail_at_the_edge(mixed):
    truth, image, alpha = mixed
    large = [np.asarray(Image.fromarray(np.asarray(p, np.uint8)).resize((1100, 1100))) for p in (truth, alpha)]
    back = photograph("coffee.png").resize((1100, 1100))
    image = Image.composite(Image.fromarray(large[0]), back, Image.fromarray(large[1]))
    assert image.width * image.height > WORKING
    found = object_colours(image, Image.fromarray(large[1]))
    assert edge_error(found, large[0].astype(float), large[1]) < 0.45 * edge_error(
        image, large[0].astype(float), large[1]
    )


def test_the_photographs_own_transparency_is_respected(cat, mask):
    image = in_mode(cat, "RGBA")
    assert cutout(image, mask).getchannel("A") == ImageChops.multiply(mask, image.getchannel("A"))


def test_a_guided_filter_brings_a_coarse_mask_nearer_to_the_truth(mixed):
    _, image, alpha = mixed
    coarse = thresholded(alpha.resize((64, 64), Image.Resampling.BOX).resize(alpha.size), 0.5)
    fine = matted(image, coarse, "guided")
    before, after = (np.abs(np.asarray(m, float) - np.asarray(alpha, float)).mean() for m in (coarse, fine))
    assert after < 0.45 * before  # measured 1.30 and 3.53 of 255 on 2026-11-21


@pytest.fixture(scope="module")
def matted_in_steps(tmp_path_factory) -> dict[str, np.ndarray]:
    """What closed-form matting makes of a small cat, uncompiled: that takes longer than all tests of this folder."""
    file = tmp_path_factory.mktemp("closed form") / "alphas.npz"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": SEARCHED}
    command = [sys.executable, closed_form.__file__, "112", "2", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(np.load(file))


def assert_refined_as_rembg_does(alphas: dict[str, np.ndarray]) -> None:
    assert np.array_equal(alphas["found"], alphas["expected"])
    assert not np.array_equal(alphas["found"], alphas["mask"])


def test_closed_form_alpha_is_rembgs_alpha_matting(matted_in_steps):
    assert_refined_as_rembg_does(matted_in_steps)


@pytest.mark.full
def test_closed_form_alpha_is_rembgs_alpha_matting_when_compiled():
    assert_refined_as_rembg_does(closed_form.alphas(225, 6))


def test_matting_without_anything_certain_keeps_the_mask_and_says_so(matted_in_steps):
    assert (matted_in_steps["kept"] == 128).all()
    assert "not refined" in str(matted_in_steps["warning"])


def test_bands_meet_without_a_seam():
    layer = np.random.default_rng(1).random((61, 47, 2), np.float32)
    size = (300, 700)
    joined = np.concatenate([enlarged(layer, size, box) for box in bands(size)])
    whole = Image.fromarray(np.ascontiguousarray(layer[..., 1])).resize(size, Image.Resampling.BILINEAR)
    assert len(list(bands(size))) > 1
    assert np.abs(joined[..., 1] - np.asarray(whole)).max() < 1e-5


def test_a_working_copy_is_bounded():
    assert working(Image.new("L", (700, 700))).size == (700, 700)
    small = working(Image.new("L", (4000, 1000)))
    assert small.width * small.height <= 1.01 * WORKING
    assert abs(small.width / small.height - 4) < 0.02


@pytest.mark.parametrize("side", [0, 1, 2, 5, 10])
def test_certain_regions_are_worn_away_as_scipys_erosion_does(mask, side):
    """And in no more memory than the mask's: binary erosion by a square of 200 would take 12 GB."""
    square = np.ones((side, side), bool) if side else None
    levels = np.asarray(mask)
    known = np.full(levels.shape, 0.5, np.float32)
    known[ndimage.binary_erosion(levels > 240, structure=square)] = 1
    known[ndimage.binary_erosion(levels < 10, structure=square, border_value=1)] = 0
    assert np.array_equal(Trimap(erode=side).of(levels), known)
    assert set(np.unique(Trimap(erode=200).of(levels))) <= {0.0, 0.5, 1.0}

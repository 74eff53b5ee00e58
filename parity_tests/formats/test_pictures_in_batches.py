"""Several pictures at once: each is divided by its own maximum and its mask stretched by itself."""

import numpy as np
import pytest
from support.lasting import full_for
from support.photographs import photograph

from converters import FORMATS, Options
from converters.options import DYNAMIC
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 96)
ABLE = [name for name, fmt in FORMATS.items() if {"image"} <= set(fmt.choices.get("io", ())) and
        DYNAMIC in fmt.choices.get("batch", ())]  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(3, 3, H, W): a cat, the same in the dark, and next to nothing."""
    cat = PROFILES["paper"].pixels(photograph("chelsea.png"), SIZE).transpose(2, 0, 1)
    return np.stack([cat, cat // 4, np.full_like(cat, 7)])


@pytest.mark.parametrize("name", full_for(ABLE, "coreai"))
def test_pictures_of_a_batch_are_answered_as_if_each_came_alone(name, made, pictures):
    predictor = FORMATS[name].run(made.one(name, Options(io="image", size=SIZE, batch=DYNAMIC)).path)
    together = predictor(pictures)["mask"]
    alone = np.concatenate([predictor(picture[None])["mask"] for picture in pictures])
    assert (together.shape, together.dtype) == ((3, 1, *SIZE), np.uint8)
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert [int(np.ptp(mask)) for mask in together[:2]] == [255, 255]
    # In the dark the photograph is the same but for its rounding to a quarter of the levels.
    assert np.abs(together[0].astype(int) - together[1]).mean() < 10


def test_onnx_is_among_them():
    assert "onnx" in ABLE

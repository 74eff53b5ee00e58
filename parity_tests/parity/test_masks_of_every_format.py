"""Photographs in, the same masks out of every file of the bundled network as out of its weights."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.agreement import mask_agreement, near
from support.artifacts import ALL, PICTURES, WEIGHTS_ALONE
from support.data import NANO
from support.photographs import photograph

from converters import FORMATS, Options
from converters.embedded import EmbeddedPreprocessing
from converters.loading import read_source
from converters.mask_errors import MaskErrors
from converters.parity import picture, picture_of
from converters.torch_predictor import RememberingPredictor
from u2net_zoo import Session
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES

NAMES = ("chelsea.png", pytest.param("rocket.jpg", marks=pytest.mark.full))


@pytest.fixture(scope="module", params=NAMES)
def photographs(request) -> list[Image.Image]:
    return [photograph(request.param)]


def masks(source, photographs) -> np.ndarray:
    """Grey levels of all pixels of the photographs' masks."""
    session = Session(source)
    return np.concatenate([np.asarray(session.mask(photo), int).ravel() for photo in photographs])


@pytest.fixture(scope="module")
def by_torch(photographs) -> np.ndarray:
    return masks(NANO, photographs)


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*WEIGHTS_ALONE, *PICTURES)])
def test_tensors_give_the_masks_of_the_weights(name, nano_made, photographs, by_torch):
    assert near(masks(nano_made.one(name).path, photographs), by_torch) >= 0.9999


@pytest.mark.parametrize("name", WEIGHTS_ALONE)
def test_weight_files_hold_every_tensor_bit_for_bit(name, nano_made):
    found, expected = (read_source(path).state for path in (nano_made.one(name).path, NANO))
    assert set(found) == set(expected)
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_give_the_masks_of_the_weights(name, nano_made, photographs):
    """As near as the picture's 8 bits allow: lowest IoU 0.9976, largest error 0.36 of 255 (2026-11-26)."""
    ours, theirs = Session(nano_made.one(name).path), Session(NANO)
    for photo in photographs:
        iou, mae = mask_agreement([(ours.mask(photo), theirs.mask(photo))])
        assert iou >= 0.996
        assert mae <= 0.4


def test_the_old_neural_network_gives_the_masks_of_the_package(nano_made, photographs):
    new, old = (masks(nano_made.one(name).path, photographs) for name in PICTURES)
    assert near(new, old) >= 0.9999


TENSORFLOWS = [pytest.param(name, marks=pytest.mark.full) for name in ("tflite", "savedmodel")]


@pytest.mark.parametrize("name", ["coreml", "mlmodel", "onnx", *TENSORFLOWS])
def test_pixels_give_the_profiles_grey_levels(name, nano_made, photographs):
    options = Options() if name in PICTURES else Options(io="image")
    predictor = FORMATS[name].run(nano_made.one(name, options).path)
    torch, embedded = (
        RememberingPredictor(read_source(NANO)),
        EmbeddedPreprocessing(replace(PROFILES["paper"], stretch=True)),
    )
    pixels = [embedded.profile.pixels(photo, (320, 320)) for photo in photographs]
    found, wanted = [picture(predictor, p) for p in pixels], [picture_of(torch, embedded, p) for p in pixels]
    assert near(np.stack(found), np.stack(wanted)) >= 0.995


@pytest.mark.full  # every conversion to fp16 is held to such bounds by the gate
def test_float16_keeps_the_masks_of_the_weights(nano_made, photographs):
    """Measured 0.9980 and 0.9995, on 2026-11-26."""
    half = FORMATS["coreml"].run(nano_made.one("coreml", Options(precision="fp16", io="tensor")).path)
    single = RememberingPredictor(read_source(NANO))
    inputs = [PROFILES["paper"].tensor(photo, (320, 320)) for photo in photographs]
    found = MaskErrors.of([(half(x)["mask"][0], single(x)["mask"][0]) for x in inputs])
    assert found.iou >= 0.997


@pytest.mark.parametrize("runtime", ["onnx", pytest.param("tflite", marks=pytest.mark.full)])
def test_weights_run_in_another_runtime(small_file, runtime):
    image = photograph("coffee.png", 160)
    iou, mae = mask_agreement([(Session(small_file, runtime=runtime).mask(image), Session(small_file).mask(image))])
    assert iou > 0.99
    assert mae < 0.5


def test_an_artifact_has_its_own_runtime(nano_made):
    with pytest.raises(OptionError, match="--runtime onnx runs it, tflite does not"):
        Session(nano_made.one("onnx").path, runtime="tflite")

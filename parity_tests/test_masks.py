"""Photographs in, the authors' published masks out, from weights and every artifact; and photographs of any mode."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import ALL, DATA, mask_agreement, needs, published, u2zoo
from PIL import Image

from converters import FORMATS, Options, convert
from converters.baking import Baking
from converters.parity import picture, picture_of
from converters.proof import MaskErrors
from converters.sources import read_source
from converters.torch_predictor import RememberingPredictor
from u2net_zoo import Session
from u2net_zoo.api import WEIGHT_FILES
from u2net_zoo.apps.journal import ROOM
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES, minmax, read_image

IOU, MAE = 0.992, 0.5  # measured 0.9923 and 0.45 of 255 on 2026-11-20


PICTURES = ("coreml", "mlmodel")  # these take pictures of 8 bits, the others the tensor


@pytest.fixture(scope="module")
def thirds():
    """Every third of the photographs."""
    return [read_image(photo) for photo, _ in published("u2netp")[::3]]


def masks(source, photographs) -> np.ndarray:
    """Grey levels of all pixels of the photographs' masks."""
    session = Session(source)
    return np.concatenate([np.asarray(session.mask(photo), int).ravel() for photo in photographs])


@pytest.fixture(scope="module")
def by_torch(real_weights, thirds) -> np.ndarray:
    return masks(real_weights, thirds)


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*WEIGHT_FILES, *PICTURES)])
def test_tensors_give_the_masks_of_the_weights_which_reproduce_the_published_ones(
    name, real_artifacts, thirds, by_torch
):
    assert (np.abs(masks(real_artifacts[name], thirds) - by_torch) <= 1).mean() >= 0.9999


def test_a_package_of_pictures_reproduces_the_published_masks(real_artifacts):
    session = Session(real_artifacts["coreml"])
    pairs = [(session.mask(read_image(photo)), mask) for photo, mask in published("u2netp")]
    assert len(pairs) == 18
    iou, mae = mask_agreement(pairs)
    assert iou >= IOU
    assert mae <= MAE


@pytest.fixture(scope="module")
def eight_bits(real_weights):
    """The photographs at the network's size, uint8 (H, W, 3), and what Torch and the profile make of each."""
    torch = RememberingPredictor(read_source(real_weights))
    baking = Baking(replace(PROFILES["paper"], stretch=True))
    pixels = [baking.profile.pixels(read_image(photo), (320, 320)) for photo, _ in published("u2netp")]
    return [(each, picture_of(torch, baking, each)) for each in pixels]


@pytest.mark.parametrize("name", ["coreml", "onnx", "tflite", "savedmodel"])
def test_pixels_give_the_profiles_grey_levels_on_all_photographs(
    name, real_artifacts, real_weights, eight_bits, tmp_path
):
    path = real_artifacts[name]
    if name != "coreml":
        path = convert(real_weights, name, tmp_path, options=Options(io="image"))[0].path
    predictor = FORMATS[name].run(path)
    off = [np.abs(picture(predictor, pixels).astype(int) - wanted) for pixels, wanted in eight_bits]
    assert len(off) == 18
    assert (np.stack(off) <= 1).mean() >= 0.995


def test_float16_keeps_the_masks_of_the_weights(real_weights, tmp_path):
    """Measured 0.9972, lowest 0.9935, on 2026-11-21."""
    options = Options(precision="fp16", io="tensor")
    half = FORMATS["coreml"].run(convert(real_weights, "coreml", tmp_path, options=options)[0].path)
    single, profile = RememberingPredictor(read_source(real_weights)), PROFILES["paper"]
    inputs = [profile.tensor(read_image(photo), (320, 320)) for photo, _ in published("u2netp")]
    found = MaskErrors.of([(half(x)["mask"][0], single(x)["mask"][0]) for x in inputs])
    assert found.iou >= 0.996
    assert found.worst >= 0.99


def test_the_old_neural_network_gives_the_masks_of_the_package(real_artifacts, thirds):
    new, old = (masks(real_artifacts[name], thirds) for name in PICTURES)
    assert (np.abs(new - old) <= 1).mean() >= 0.9999


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_weight_files_hold_what_the_command_reproduces_them_with(name, real_artifacts, real_weights):
    found, expected = (read_source(path).state for path in (real_artifacts[name], real_weights))
    assert set(found) == set(expected)
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


def test_every_format_takes_the_real_weights(real_artifacts):
    assert all(path.exists() for path in real_artifacts.values())  # the gate keeps nothing else


def test_the_command_reproduces_them_with_the_authors_weights(real_weights, tmp_path):
    images = needs(DATA / "sod" / "images")
    done = u2zoo("mask", images, "-o", tmp_path, "--model", real_weights, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["masks"]) == 18
    iou, mae = mask_agreement([(tmp_path / mask.name, mask) for _, mask in published("u2netp")])
    assert iou >= IOU
    assert mae <= MAE


def test_the_rembg_profile_differs_as_measured(real_weights):
    session = Session(real_weights, profile="rembg")
    iou, _ = mask_agreement([(session.mask(read_image(photo)), mask) for photo, mask in published("u2netp")])
    assert 0.97 < iou < 0.985


MODES = ("L", "I;16", "P", "CMYK", "RGBA", "LA", "1", "F")


def photograph(mode: str) -> Image.Image:
    image = Image.open(needs(DATA / "sod" / "images" / "girl.png")).convert("RGB").resize((160, 120))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    if mode == "P":
        return image.quantize(256)
    return image.convert("L").convert(mode) if mode in ("F", "LA", "1") else image.convert(mode)


@pytest.fixture(scope="module")
def session(real_weights):
    return Session(real_weights)


@pytest.mark.parametrize("mode", MODES)
def test_photographs_of_any_mode(session, mode: str, tmp_path):
    image = photograph(mode)
    suffix = {"CMYK": "jpg", "F": "tiff"}.get(mode, "png")
    image.save(tmp_path / f"a.{suffix}")
    mask = session.mask(read_image(tmp_path / f"a.{suffix}"))
    assert mask.mode == "L"
    assert mask.size == image.size
    grey = mode in ("L", "I;16", "LA", "1", "F")
    iou, _ = mask_agreement([(mask, session.mask(photograph("L" if grey else "RGB")))])
    assert iou > 0.9 or mode == "1"  # one bit of dots is another picture


def test_sixteen_bits_are_as_good_as_eight(session):
    np.testing.assert_array_equal(session.mask(photograph("I;16")), session.mask(photograph("L")))


def test_exif_orientation_is_respected(session, tmp_path):
    image = photograph("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn anticlockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright = session.mask(read_image(tmp_path / "turned.png"))
    assert upright.size == image.size
    np.testing.assert_array_equal(upright, session.mask(image))


def test_an_empty_mask_stays_empty():
    flat = np.full((4, 4), 0.3, np.float32)
    assert not minmax(flat).any()
    assert not np.asarray(PROFILES["paper"].mask(flat, (9, 9))).any()


def test_a_black_photograph_is_no_division_by_zero(session):
    assert np.isfinite(session.predict(Image.new("RGB", (50, 40)))).all()


def test_one_broken_photograph_does_not_stop_the_folder(real_weights, tmp_path):
    for name in ("a.png", "b.png", "b.jpg"):
        photograph("RGB").save(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8 not a photograph")
    (tmp_path / "notes.txt").write_text("none")
    done = u2zoo("mask", tmp_path, "-o", tmp_path / "out", "--model", real_weights, "--json")
    assert done.returncode == 2
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.png", "b.png.png", "b.jpg.png", ROOM}
    assert [row["image"] for row in json.loads(done.stdout)["failed"]] == [str(tmp_path / "c.jpg")]


@pytest.mark.parametrize("runtime", ["onnx", "tflite"])
def test_weights_run_in_another_runtime(small_file, runtime):
    image = photograph("RGB")
    iou, mae = mask_agreement([(Session(small_file, runtime=runtime).mask(image), Session(small_file).mask(image))])
    assert iou > 0.99
    assert mae < 0.5


def test_an_artifact_has_its_own_runtime(real_artifacts):
    with pytest.raises(OptionError, match="--runtime onnx runs it, tflite does not"):
        Session(real_artifacts["onnx"], runtime="tflite")

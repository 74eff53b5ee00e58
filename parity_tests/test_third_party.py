"""Two files found in the wild: a wrong TFLite and a correct ncnn pair."""

from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, mask_agreement, needs, published

from converters import FORMATS, Options, convert
from converters.inspection import inspect
from converters.sources import read_source
from u2net_zoo import Session
from u2net_zoo.arch import U2NETP
from u2net_zoo.preprocessing import PROFILES, read_image

THIRD_PARTY = DATA / "weights" / "u2netp_fp16_third_party.tflite"
SKY = DATA / "weights" / "skyseg_u2netp_fp16.ncnn.param"


def test_the_wrong_file_holds_the_right_weights(real_weights):
    found, expected = read_source(needs(THIRD_PARTY)).state, read_source(real_weights).state
    assert all(np.array_equal(found[key], value) for key, value in expected.items() if "tracked" not in key)


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> dict[str, Path]:
    """The wrong file, converted."""
    artifacts = convert(needs(THIRD_PARTY), "onnx,h5,coreml", tmp_path_factory.mktemp("third"))
    return {artifact.format: artifact.path for artifact in artifacts} | {"the file itself": THIRD_PARTY}


@pytest.mark.parametrize(("name", "low", "high"), [("onnx", 0.992, 1), ("the file itself", 0.955, 0.97)])
def test_converting_the_wrong_file_makes_a_right_one(name, low, high, converted):
    session = Session(converted[name])
    pairs = [(session.mask(read_image(photo)), mask) for photo, mask in published("u2netp")]
    assert len(pairs) == 18
    assert low <= mask_agreement(pairs)[0] <= high


@pytest.mark.parametrize(("name", "low", "high"), [("h5", 0.9999, 0.01), ("coreml", 0.997, 0.15)])
def test_every_format_that_it_is_converted_to_agrees(name, low, high, converted):
    """The package is fed 8 bits, the others the tensor: 0.9981 and 0.097 of 255 were measured on 2026-11-25."""
    ours, right = Session(converted[name]), Session(converted["onnx"])
    photographs = [read_image(photo) for photo, _ in published("u2netp")[::3]]
    iou, mae = mask_agreement([(ours.mask(photo), right.mask(photo)) for photo in photographs])
    assert iou >= low
    assert mae <= high


def test_the_wrong_file_is_explained():
    checkpoint, found = inspect(needs(THIRD_PARTY))
    assert checkpoint.arch == U2NETP
    assert not found.ok
    assert found.explanation.differs == "resizing"
    assert found.explanation.name == "align_corners=True"
    assert found.explanation.left < 1e-5
    assert "resizing differs: align_corners=True explains it" in found.summary()


def test_the_sky_pair_answers_as_ncnn_does(tmp_path):
    """All seven outputs of the original pair in ncnn and of our ONNX file in onnxruntime."""
    size = (384, 384)
    path = convert(needs(SKY), "onnx", tmp_path, options=Options(size=size, outputs="all"))[0].path
    assert path.name == "skyseg_u2netp_fp16.ncnn.onnx"
    photo = read_image(needs(DATA / "sky" / "images") / "57.jpg")
    x = PROFILES["paper"].tensor(photo, size)
    theirs, ours = FORMATS["ncnn"].run(SKY)(x), FORMATS["onnx"].run(path)(x)
    assert len(theirs) == 7
    order = ("mask", "side1", "side2", "side3", "side4", "side5", "side6")  # blobs 1959 … 1965
    for blob, name in zip(sorted(theirs), order, strict=True):
        np.testing.assert_allclose(theirs[blob], ours[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "ncnn"])
def test_the_sky_masks_look_right(name):
    """The published masks are a larger model's, so they agree roughly; one photograph has an EXIF rotation."""
    session = Session(needs(SKY), runtime="torch" if name == "mask" else None)
    masks = needs(DATA / "sky" / "masks")
    pairs = []
    for photo in sorted((DATA / "sky" / "images").iterdir()):
        image = read_image(photo)
        mask = session.mask(image)
        assert mask.size == image.size
        pairs.append((mask, next(masks.glob(f"{photo.stem}*"))))
    assert len(pairs) == 4
    assert all(mask_agreement([pair])[0] > 0.8 for pair in pairs)

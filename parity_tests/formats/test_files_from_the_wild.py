"""A wrong TFLite and a correct ncnn pair: both as they were found in public apps, which a clone does not have, and made
here of the bundled network in the same manner, by TensorFlow's own converter and under ncnn's numbered names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.agreement import mask_agreement
from support.artifacts import nano
from support.data import DATA, NANO, needs, published
from support.other_makers import half_tflite, numbered_ncnn, ordered
from support.photographs import photograph

from converters import FORMATS, Options, convert
from converters.loading import read_source
from converters.verify.self_check import inspect
from u2net_zoo import Session
from u2net_zoo.arch import U2NET_NANO, U2NETP
from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES, read_image

THIRD_PARTY = DATA / "weights" / "u2netp_fp16_third_party.tflite"
SKY = DATA / "weights" / "skyseg_u2netp_fp16.ncnn.param"


SIZE = (160, 160)
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png")


def sized(source: Path, **options) -> Session:
    session = Session(source, **options)
    session.preparation = replace(session.preparation, size=SIZE)
    return session


@pytest.fixture(scope="module")
def wrong(store) -> Path:
    """Weights in float16, and the corners aligned where the network upsamples."""
    return store.once(
        "wrong.tflite", lambda folder: half_tflite(nano(), folder / "wrong.tflite", SIZE, align_corners=True)
    )


def halved(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value.astype(np.float16).astype(np.float32) for key, value in state.items()}


def test_a_file_that_upsamples_wrongly_holds_the_right_weights(wrong):
    found, expected = read_source(wrong), halved(nano().fold().state)
    assert found.arch == U2NET_NANO
    kernels = [key for key in expected if key.endswith("weight")]
    assert len(kernels) == 119
    assert all(np.array_equal(found.fold().state[key], expected[key]) for key in kernels)


@pytest.fixture(scope="module")
def whole_chain(wrong, tmp_path_factory) -> dict[str, Path]:
    """The wrong file and what it is converted to."""
    out = tmp_path_factory.mktemp("right")
    with pytest.raises(ArtifactError, match=r"align_corners=True explains it .*; --trust-weights converts its weights"):
        convert(wrong, "onnx", out, options=Options(size=SIZE))
    assert list(out.iterdir()) == []
    artifact = convert(wrong, "onnx", out, options=Options(size=SIZE), trust_weights=True)[0]
    assert not artifact.source.ok
    return {"onnx": artifact.path, "the file itself": wrong}


# Measured on 2026-11-26: IoU 0.99978 and 0.048 of 255 after the conversion, 0.9434 and 13.1 before.
@pytest.mark.parametrize(("name", "low", "high"), [("onnx", 0.9995, 1), ("the file itself", 0.93, 0.96)])
def test_converting_a_file_that_upsamples_wrongly_makes_a_right_one(name, low, high, whole_chain):
    ours, right = Session(whole_chain[name]), sized(NANO)
    photographs = [photograph(each) for each in PHOTOGRAPHS]
    assert low <= mask_agreement([(ours.mask(each), right.mask(each)) for each in photographs])[0] <= high


def explained(path: Path, arch) -> None:
    checkpoint, found = inspect(path)
    assert checkpoint.arch == arch
    assert not found.ok
    assert found.explanation.differs == "resizing"
    assert found.explanation.name == "align_corners=True"
    assert found.explanation.left < 1e-5
    assert "resizing differs: align_corners=True explains it" in found.summary()


def test_aligned_corners_are_explained(wrong):
    explained(wrong, U2NET_NANO)  # left: 9.0e-8 (2026-11-26)


def seven_alike(pair: Path, path: Path, x: np.ndarray) -> None:
    theirs, ours = FORMATS["ncnn"].run(pair)(x), FORMATS["onnx"].run(path)(x)
    assert len(theirs) == 7
    order = ("mask", "side1", "side2", "side3", "side4", "side5", "side6")
    for blob, name in zip(ordered(theirs), order, strict=True):
        np.testing.assert_allclose(theirs[blob], ours[name], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> Path:
    folder, ncnn = tmp_path_factory.mktemp("pair"), FORMATS["ncnn"]
    ncnn.write(nano(), folder / "own_ncnn", ncnn.settle(Options(size=SIZE, outputs="all", precision="fp16")))
    return numbered_ncnn(folder / "own_ncnn" / "model.ncnn.param", folder)


def test_a_numbered_ncnn_pair_answers_as_what_it_is_converted_to(numbered, tmp_path):
    """In ncnn and in onnxruntime; 8e-7 apart (2026-11-26)."""
    path = convert(numbered, "onnx", tmp_path, options=Options(size=SIZE, outputs="all"))[0].path
    assert path.name == "numbered_fp16.ncnn.onnx"
    seven_alike(numbered, path, PROFILES["paper"].tensor(photograph("rocket.jpg"), SIZE))


@pytest.mark.parametrize("runtime", ["torch", None])
def test_a_numbered_ncnn_pair_masks_photographs(numbered, runtime):
    """Weights in float16: IoU 0.9998 at least was measured on 2026-11-26."""
    ours, right = sized(numbered, runtime=runtime), sized(NANO)
    pairs = [(ours.mask(each), right.mask(each)) for each in map(photograph, PHOTOGRAPHS)]
    assert mask_agreement(pairs)[0] >= 0.9995


@pytest.mark.full
def test_the_wrong_file_holds_the_right_weights(real_weights):
    found, expected = read_source(needs(THIRD_PARTY)).state, read_source(real_weights).state
    assert all(np.array_equal(found[key], value) for key, value in expected.items() if "tracked" not in key)


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> dict[str, Path]:
    """The wrong file, converted."""
    artifacts = convert(needs(THIRD_PARTY), "onnx,h5,coreml", tmp_path_factory.mktemp("third"), trust_weights=True)
    return {artifact.format: artifact.path for artifact in artifacts} | {"the file itself": THIRD_PARTY}


@pytest.mark.full
@pytest.mark.parametrize(("name", "low", "high"), [("onnx", 0.992, 1), ("the file itself", 0.955, 0.97)])
def test_converting_the_wrong_file_makes_a_right_one(name, low, high, converted):
    session = Session(converted[name])
    pairs = [(session.mask(read_image(photo)), mask) for photo, mask in published("u2netp")]
    assert len(pairs) == 18
    assert low <= mask_agreement(pairs)[0] <= high


@pytest.mark.full
@pytest.mark.parametrize(("name", "low", "high"), [("h5", 0.9999, 0.01), ("coreml", 0.997, 0.15)])
def test_every_format_that_it_is_converted_to_agrees(name, low, high, converted):
    """The package is fed 8 bits, the others the tensor: 0.9981 and 0.097 of 255 were measured on 2026-11-25."""
    ours, right = Session(converted[name]), Session(converted["onnx"])
    photographs = [read_image(photo) for photo, _ in published("u2netp")[::3]]
    iou, mae = mask_agreement([(ours.mask(photo), right.mask(photo)) for photo in photographs])
    assert iou >= low
    assert mae <= high


@pytest.mark.full
def test_the_wrong_file_is_explained():
    explained(needs(THIRD_PARTY), U2NETP)


@pytest.mark.full
def test_the_sky_pair_answers_as_ncnn_does(tmp_path):
    """All seven outputs of the original pair in ncnn and of our ONNX file in onnxruntime."""
    size = (384, 384)
    path = convert(needs(SKY), "onnx", tmp_path, options=Options(size=size, outputs="all"))[0].path
    assert path.name == "skyseg_u2netp_fp16.ncnn.onnx"
    photo = read_image(needs(DATA / "sky" / "images") / "57.jpg")
    x = PROFILES["paper"].tensor(photo, size)
    seven_alike(SKY, path, x)  # blobs 1959 … 1965


@pytest.mark.full
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

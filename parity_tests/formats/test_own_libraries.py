"""TorchScript, torch.export, OpenVINO IR and ncnn, opened by their own libraries; what every format shares is tested by
name in test_every_format.py."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.artifacts import nano
from support.photographs import photograph

from converters import FORMATS, Options
from converters.formats.ncnn_reader import HALF
from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES

SIZE = (320, 320)
NAMES = ("torchscript", "pt2", "openvino", "ncnn")


@pytest.fixture(scope="module")
def artifacts(nano_made) -> dict[str, Path]:
    return {name: nano_made.one(name).path for name in NAMES}


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return PROFILES["paper"].tensor(photograph("rocket.jpg"), SIZE)


@dataclass(frozen=True)
class Expected:
    """Torch's float64 answer, and the gate's bound: three times what float32 in Torch strays from it here."""

    mask: np.ndarray
    bound: float


@pytest.fixture(scope="module")
def expected(x) -> Expected:
    from converters.torch_predictor import TorchPredictor

    exact = TorchPredictor(nano(), "float64")(x.astype(np.float64))["mask"]
    noise = np.abs(TorchPredictor(nano())(x)["mask"] - exact).max()
    return Expected(exact, 3 * noise + 1e-6)


def close(value, expected: Expected) -> None:
    np.testing.assert_allclose(
        np.asarray(value).reshape(expected.mask.shape), expected.mask, rtol=0, atol=expected.bound
    )


def test_torchscript_opens_in_torch_alone(artifacts, x, expected):
    import torch

    close(torch.jit.load(str(artifacts["torchscript"]))(torch.from_numpy(x)).detach(), expected)


def test_torch_export_opens_in_torch_alone(artifacts, x, expected):
    import torch

    close(torch.export.load(str(artifacts["pt2"])).module()(torch.from_numpy(x)).detach(), expected)


def test_openvino_opens_in_openvino_alone(artifacts, x, expected):
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(artifacts["openvino"] / "model.xml"), "CPU", hint)
    assert model.inputs[0].get_names() == {"image"}
    close(model({"image": x})["mask"], expected)


def test_openvino_is_asked_for_f32_by_name(artifacts):
    import openvino

    assert (
        FORMATS["openvino"].run(artifacts["openvino"]).model.get_property("INFERENCE_PRECISION_HINT")
        == openvino.Type.f32
    )


def test_ncnn_opens_in_ncnn_alone(artifacts, x, expected):
    import ncnn

    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_winograd_convolution = False  # it alone strays twice as far as float32 in Torch does
    assert net.load_param(str(artifacts["ncnn"] / "model.ncnn.param")) == 0
    assert net.load_model(str(artifacts["ncnn"] / "model.ncnn.bin")) == 0
    image = np.ascontiguousarray(x[0])
    extractor = net.create_extractor()
    extractor.input("image", ncnn.Mat(image).clone())
    close(np.array(extractor.extract("mask")[1]), expected)


def test_ncnn_takes_every_blob_once(artifacts):
    lines = [line.split() for line in (artifacts["ncnn"] / "model.ncnn.param").read_text().splitlines()[2:]]
    taken = [name for line in lines for name in line[4 : 4 + int(line[2])]]
    assert len(taken) == len(set(taken))


def test_ncnn_half_precision_is_tagged(made):
    half = made.one("ncnn", Options(size=(96, 128), outputs="all", precision="fp16"))
    content = (half.path / "model.ncnn.bin").read_bytes()
    assert int.from_bytes(content[:4], "little") == HALF


def test_a_folder_format_is_named_by_its_file_too(artifacts, x, expected):
    close(FORMATS["ncnn"].run(artifacts["ncnn"] / "model.ncnn.param")(x)["mask"], expected)
    close(FORMATS["openvino"].run(artifacts["openvino"] / "model.xml")(x)["mask"], expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_wrong_size_is_refused(name, artifacts):
    with pytest.raises(ArtifactError, match="the model takes 320x320, got 64x64"):
        FORMATS[name].run(artifacts[name])(np.zeros((1, 3, 64, 64), np.float32))

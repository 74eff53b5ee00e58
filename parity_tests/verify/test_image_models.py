"""Verifying files that take pictures, ours and other makers', and files whose channels lie the other way."""

import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from support import faults
from support.mil_models import MaskOnly, ct
from support.networks import hard_checkpoint
from support.opening import Here

from converters import FORMATS, Options, convert
from converters.parity import Reference, divergence
from converters.verify import Verifier
from u2net_zoo import torch_model
from u2net_zoo.arch import two_level
from u2net_zoo.preprocessing import IMAGENET_MEAN, PROFILES

SIZE = (64, 64)
WHOLE = Options(size=SIZE, outputs="all")


@pytest.fixture(scope="module")
def picture(made):
    """The small network as ONNX with the profile in its graph."""
    return made.one("onnx", Options(size=SIZE, io="image")).path


@pytest.fixture(scope="module")
def verifier(small) -> Verifier:
    return Verifier(small, PROFILES["paper"], {}, known=True, opened=Here)


def test_a_right_picture_is_accused_of_nothing(picture, verifier):
    verdict = verifier.verify(picture)
    assert (verdict.ok, verdict.diagnosis, verdict.precision) == (True, None, "fp32")
    assert sum(verdict.histogram) == 6 * SIZE[0] * SIZE[1]


@pytest.mark.parametrize(
    ("name", "unit", "edit"),
    [
        (
            "align_corners=True",
            "stage1.rebnconv5d",
            faults.attributes("Resize", coordinate_transformation_mode="align_corners"),
        ),
        (
            "channels of the first kernel reversed (BGR)",
            "stage1.rebnconvin",
            faults.kernels(lambda k: k[:, ::-1], first_only=True),
        ),
    ],
)
def test_a_fault_behind_the_profile_is_named(picture, verifier, tmp_path, name, unit, edit):
    verdict = verifier.verify(faults.planted(picture, tmp_path / "wrong.onnx", edit))
    assert not verdict.ok
    assert verdict.diagnosis.explanation.name == name
    assert verdict.diagnosis.first.path == unit


def test_a_profile_that_is_not_the_weights_own_is_named(small, made, verifier):
    """Where nobody knows which one is, the file's own is taken."""
    wrong = made.one("onnx", Options(size=SIZE, io="image", profile="isnet")).path
    verdict = verifier.verify(wrong)
    assert not verdict.ok
    assert verdict.diagnosis.headline() == "the profile: isnet instead of paper"
    assert Verifier(small, PROFILES["paper"], {}, opened=Here).verify(wrong).ok


def test_the_inside_of_a_package_of_pictures_is_compared_unit_by_unit(small, made):
    predictor = FORMATS["coreml"].run(made.one("coreml", Options(size=SIZE, io="image")).path)
    reference = Reference(small, SIZE)
    assert divergence(predictor, reference) is None
    pixels = reference.pictured(predictor.embedded)[0][0].transpose(2, 0, 1)[None]
    seen = [path for path, _ in predictor.taps(pixels, small.arch)]
    assert seen[:2] == ["stage1.rebnconvin", "stage1.rebnconv1"]
    assert len(seen) == len(list(small.arch.units()))


@pytest.mark.full
@pytest.mark.parametrize("units", ["one", "each"])
def test_another_makers_package_of_pictures_is_verified(small, verifier, tmp_path, units):
    """As they lie in apps: a picture in, a multi-array out, and Core ML's one scale for all channels."""
    std = 0.226
    inputs = ct.ImageType(
        "photo", shape=(1, 3, *SIZE), scale=1 / 255 / std, bias=[-mean / std for mean in IMAGENET_MEAN]
    )
    model = MaskOnly(torch_model.build(small)) if units == "one" else Scaled(small)
    inputs = inputs if units == "one" else ct.ImageType("photo", shape=(1, 3, *SIZE))
    path = tmp_path / "foreign.mlpackage"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        ct.convert(
            torch.jit.trace(model.eval(), torch.rand(1, 3, *SIZE) * 255, check_trace=False),
            inputs=[inputs],
            outputs=[ct.TensorType("out")],
            minimum_deployment_target=ct.target.iOS15,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        ).save(str(path))
    verdict = verifier.verify(path)
    assert verdict.takes == "pixels 0..255" or not verdict.ok
    if units == "each":
        assert verdict.ok
    else:
        name = "divided by 255, one standard deviation (0.2260), as Core ML's scale"
        assert verdict.diagnosis.explanation.name == name


class Scaled(torch.nn.Module):
    """The network behind the paper's normalisation of pixels in 0..255."""

    def __init__(self, checkpoint):
        super().__init__()
        self.network = torch_model.build(checkpoint)
        profile = PROFILES["paper"]
        for name, values in (("mean", profile.mean), ("std", profile.std)):
            self.register_buffer(name, torch.tensor(values)[None, :, None, None])

    def forward(self, x):
        x = x.float()
        return self.network((x / x.amax((1, 2, 3), keepdim=True) - self.mean) / self.std)[0]


def test_another_makers_onnx_file_of_bytes_is_verified(small, verifier, tmp_path):
    path = tmp_path / "bytes.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
        torch.onnx.export(Scaled(small), (sample,), str(path), opset_version=17, dynamo=False)
    assert onnx.load(str(path)).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    verdict = verifier.verify(path)
    assert (verdict.ok, verdict.takes) == (True, "pixels 0..255")


def test_a_savedmodel_whose_channels_come_first_is_worked_out(made, verifier, tmp_path):
    import tensorflow as tf

    inner = tf.saved_model.load(str(made.one("savedmodel", WHOLE).path))

    class First(tf.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        @tf.function(input_signature=[tf.TensorSpec((1, 3, *SIZE), tf.float32, name="x")])
        def __call__(self, x):
            mask = self.inner.signatures["serving_default"](image=tf.transpose(x, (0, 2, 3, 1)))["mask"]
            return {"mask": tf.transpose(mask, (0, 3, 1, 2))}

    first = First()
    tf.saved_model.save(first, str(tmp_path / "first"), signatures={"serving_default": first.__call__})
    verdict = verifier.verify(tmp_path / "first")
    assert verdict.ok
    assert verdict.size == SIZE


def test_openvino_files_whose_channels_come_last_are_worked_out(made, verifier, tmp_path):
    import openvino
    from openvino.preprocess import PrePostProcessor

    ours = made.one("openvino", replace(WHOLE, batch=1)).path
    steps = PrePostProcessor(openvino.Core().read_model(next(ours.glob("*.xml"))))
    steps.input().tensor().set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    (tmp_path / "last").mkdir()
    openvino.save_model(steps.build(), tmp_path / "last" / ours.with_suffix("").joinpath("model.xml").name, False)
    verdict = verifier.verify(next((tmp_path / "last").glob("*.xml")))
    assert verdict.ok
    assert verdict.size == SIZE


def test_networks_that_take_no_photographs_are_verified_without_them(small, tmp_path):
    grey = two_level("grey", [("4", 4, 8), ("4F", 4, 8), ("4F", 4, 8)], [("4F", 4, 8), ("4", 4, 8)], in_ch=1)
    checkpoint = hard_checkpoint(grey)
    path = convert(checkpoint, "onnx", tmp_path, options=Options(size=SIZE))[0].path
    verdict = Verifier(checkpoint, PROFILES["paper"], {}, opened=Here).verify(path)
    assert verdict.ok
    assert verdict.pictures == ()
    assert np.isnan(verdict.mean("iou"))

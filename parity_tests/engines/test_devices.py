"""A device that was asked for is taken, or an error says what to install: never another one in silence."""

import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from support.commands import called, u2zoo
from support.data import NANO
from support.photographs import photograph

from converters import FORMATS, Options
from converters.engines import candidates
from converters.engines.torch_device import TorchOnDevice
from converters.formats.onnx_providers import PROVIDERS
from converters.formats.onnx_runtime import OnDevice, Runtime
from converters.loading import read_source
from u2net_zoo import Session
from u2net_zoo.apps.batch.jobs import jobs_of
from u2net_zoo.apps.batch.local import run
from u2net_zoo.apps.mask import Mask
from u2net_zoo.devices import BY_PREFERENCE, DEVICES, get_device
from u2net_zoo.errors import OptionError, UnknownNameError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.session import MaskSession

HERE = onnxruntime.get_available_providers()
ABSENT = [device for device, provider in PROVIDERS.items() if not set(provider.names) & set(HERE)]


@pytest.fixture(scope="module")
def model(made):
    return made.one("onnx", Options(size=(64, 64))).path


def test_names_are_known_in_any_letters():
    assert get_device("OpenVINO:gpu") == "openvino:GPU"
    assert set(BY_PREFERENCE) == set(DEVICES)
    assert BY_PREFERENCE[-1] == "cpu"
    with pytest.raises(UnknownNameError, match=r"unknown device 'cdua'; devices: auto, .* did you mean 'cuda'"):
        get_device("cdua")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_its_devices(name, tmp_path):
    fmt = FORMATS[name]
    assert {"cpu"} <= set(fmt.devices) <= set(DEVICES)
    other = next(device for device in DEVICES if device not in fmt.devices)
    with pytest.raises(
        OptionError, match=f"--device {other}: .* runs on {', '.join(fmt.devices)}; choose one of these"
    ):
        fmt.run(tmp_path / "nothing", other)


@pytest.mark.parametrize("device", ABSENT)
def test_a_provider_that_is_missing_names_its_package(model, device):
    name, remedy = PROVIDERS[device].names[0], PROVIDERS[device].remedy
    with pytest.raises(
        OptionError, match=rf"--device {device}: onnxruntime was built without {name}; it has: .*{remedy}"
    ):
        Session(model, device=device)


@pytest.mark.parametrize("device", ABSENT)
def test_a_provider_that_onnxruntime_silently_leaves_out_is_an_error(model, device):
    """What it is asked for it cannot load, and takes the processor without an error of its own."""
    why = (
        rf"has {PROVIDERS[device].names[0]} but cannot load it \(its driver .*\) and would run on CPUExecutionProvider"
    )
    with pytest.raises(OptionError, match=why):
        OnDevice(model, device)


def written(name, checkpoint, folder):
    """A file of 64 by 64 that is there to be run; what formats write is proved elsewhere."""
    fmt = FORMATS[name]
    fmt.write_to_run(checkpoint, fmt.target(folder, "small"), fmt.settle(Options(size=(64, 64))))
    return fmt.target(folder, "small")


def test_openvino_says_what_it_finds(small, tmp_path):
    import openvino

    if any(name.startswith("GPU") for name in openvino.Core().available_devices):
        pytest.skip("needs a machine without an Intel GPU")
    with pytest.raises(OptionError, match="--device openvino:GPU: OpenVINO finds no GPU, it has: CPU"):
        Session(written("openvino", small, tmp_path), device="openvino:GPU")


@pytest.mark.parametrize("device", ["cuda", "rocm"])
def test_torch_says_how_it_was_built(device):
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a Torch without CUDA")
    with pytest.raises(
        OptionError, match=rf"--device {device}: torch .* (was built without|finds no) {device.upper()}"
    ):
        Session(NANO, runtime="torch", device=device)
    with pytest.raises(OptionError, match=rf"--device {device}: torch .* {device.upper()}"):
        TorchOnDevice(read_source(NANO), device)


def test_where_no_engine_has_it_all_of_them_are_named():
    device = next(device for device in ("coreml", "directml") if device in ABSENT)  # no onnxruntime has both
    with pytest.raises(
        OptionError, match=f"--device {device}: nothing here can take it: onnxruntime was built without"
    ):
        candidates(device)


def test_auto_takes_what_is_there_and_says_so(model):
    session = Session(model, device="auto")
    if session.engine.device == "cpu":
        assert str(session.engine) == "engine: onnxruntime; no other device that can run it was found"
    else:
        assert f" on {session.engine.device}" in str(session.engine)
    assert session.engine.new


@pytest.mark.parametrize(
    ("command", "device", "words"),
    [
        (["mask", "{p}", "-o", "{d}/m.png", "--model", "{m}"], "gpu", "unknown device 'gpu'"),
        (["cutout", "{p}", "-o", "{d}/m.png", "--model", "{m}"], "openvino:GPU", "ONNX runs on cpu, cuda"),
        (["verify", "{m}", "--against", "{m}"], "openvino:GPU", "ONNX runs on cpu, cuda"),
        (["verify", "{m}", "--against", "{m}"], "tpu", "unknown device 'tpu'"),
        (["serve", "--port", "0", "--model", "{m}"], "tpu", "unknown device 'tpu'"),
    ],
)  # fmt: skip
def test_commands_refuse_in_one_line_and_leave_nothing(model, tmp_path, command, device, words):
    Image.new("RGB", (40, 30)).save(tmp_path / "p.png")
    (tmp_path / "out").mkdir()
    places = {"p": tmp_path / "p.png", "d": tmp_path / "out", "m": model}
    done = called(*(word.format(**places) for word in command), "--device", device)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_the_object_says_what_ran(model, tmp_path):
    photograph("chelsea.png").save(tmp_path / "p.png")
    done = called("mask", tmp_path / "p.png", "-o", tmp_path / "m.png", "--model", model, "--device", "auto", "--json")
    assert json.loads(done.stdout)["engine"] == {
        "runtime": "onnxruntime",
        "device": Session(model, device="auto").engine.device,
    }
    assert done.stderr.startswith("engine: onnxruntime")


class Counting(Runtime):
    """On the processor as if it were a GPU: one call at a time, of several photographs."""

    concurrent = False

    def __init__(self, model):
        super().__init__(model)
        self.together, self.sizes = 3, []

    def compute(self, x):
        self.sizes.append(len(x))
        return super().compute(x)


def test_a_gpu_gets_what_waits_in_one_call(model, tmp_path):
    session = Session(model)
    session.predictor = counting = Counting(model)
    whole = photograph("chelsea.png")
    for index in range(12):
        whole.crop((index, index, index + 96, index + 80)).save(tmp_path / f"{index:02}.jpg")
    jobs = list(enumerate(jobs_of([str(tmp_path)], str(tmp_path / "out"), Mask())))
    (tmp_path / "out").mkdir()
    outcomes = list(run(lambda: session, Mask(), jobs, tmp_path, workers=4))
    assert [outcome.error for outcome in outcomes] == [""] * 12
    assert (sum(counting.sizes), max(counting.sizes) <= 3) == (12, True)
    alone = Session(model)
    for path in tmp_path.glob("*.jpg"):
        mask = np.asarray(Image.open(tmp_path / "out" / f"{path.stem}.png"), int)
        assert np.abs(mask - np.asarray(alone.mask(Image.open(path)), int)).max() <= 1


@pytest.mark.parametrize("name", ["onnx", "openvino", "ncnn"])  # the last takes one photograph at a time
def test_several_answers_are_what_each_is_alone(small, tmp_path, name):
    xs = [np.random.default_rng(n).standard_normal((1, 3, 64, 64)).astype(np.float32) for n in range(3)]
    session = MaskSession(FORMATS[name].run(written(name, small, tmp_path)), PROFILES["paper"])
    for answer, x in zip(session.answers(xs), xs, strict=True):
        np.testing.assert_allclose(answer, session.answer(x), rtol=0, atol=1e-5)


@pytest.mark.full
def test_a_provider_whose_libraries_are_missing_names_one_of_them(model, tmp_path):
    """The real onnxruntime-gpu where CUDA is not: it says that it has the provider, and runs on the processor."""
    if "CUDAExecutionProvider" in HERE:
        pytest.skip("needs a machine without CUDA")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "onnxruntime-gpu"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs a package index: onnxruntime-gpu")
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(tmp_path / "gpu")
    Image.new("RGB", (40, 30)).save(tmp_path / "p.png")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "gpu"), *filter(None, sys.path)])}
    done = u2zoo(
        "mask", tmp_path / "p.png", "-o", tmp_path / "m.png", "--model", model, "--device", "cuda", env=environment
    )
    assert (done.returncode, (tmp_path / "m.png").exists()) == (2, False)
    assert re.search(r"has CUDAExecutionProvider but cannot load it \(\S*(cu|nv)\S*\.so.*would run on CPU", done.stderr)

"""The network on a GPU computes what it computes in float64, as far as each precision goes.

Skipped without a GPU, unless `U2ZOO_GPU=required`. The weights are the bundled ones, so a plain clone is enough.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from support.commands import called

from converters import FORMATS
from converters.bench.contestants import ON_CUDA
from converters.loading import read_source
from converters.mask_errors import MaskBound, MaskErrors
from converters.parity import Reference, judge
from u2net_zoo import BUNDLED, Session
from u2net_zoo.sources import locate

# float32 is held to the noise floor. TF32 and fp16 round products to 10 bits, as an ONNX file at fp16 does: its bound.
# bf16 keeps 7: Torch's on the CPU gives u2net_nano IoU 0.9971 (worst 0.9950) and MAE 0.0012, 2026-11-21.
HALF = FORMATS["onnx"].bounds["fp16"]
BOUNDS = {"tf32": HALF, "float16": HALF, "bfloat16": MaskBound(iou=0.98, worst=0.96, mae=0.005)}


def cuda() -> str | None:
    """Why there is no GPU to test on."""
    if find_spec("torch") is None:
        return "Torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"no CUDA device (torch {torch.__version__})"
    return None


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if reason := cuda():
        end = pytest.fail if os.environ.get("U2ZOO_GPU") == "required" else pytest.skip
        end(f"needs a GPU: {reason}")


@pytest.fixture(scope="module")
def weights():
    return locate(BUNDLED).path


@pytest.fixture(scope="module")
def reference(weights):
    return Reference(read_source(weights), (320, 320))


def variant(weights, **options):
    from converters.bench.torch_variants import TorchVariant

    return TorchVariant(str(weights), device="cuda", **options)


@pytest.mark.parametrize("step", ["eager", "folded", "channels_last", "compiled"])
def test_float32_without_tf32_stays_within_the_noise_floor(weights, reference, step):
    report = judge(variant(weights, step=step), reference)
    assert report.ok, report.summary()


@pytest.mark.parametrize("dtype", BOUNDS)
def test_masks_at_a_reduced_precision_stay_the_same(weights, reference, dtype):
    network = variant(weights, step="channels_last", dtype=dtype)
    masks = np.concatenate([network(x[None])["mask"] for x in reference.pictures])
    errors = MaskErrors.of(list(zip(masks, reference.masks, strict=True)))
    assert errors.within(BOUNDS[dtype]), errors.summary(BOUNDS[dtype])


def test_tf32_is_off_unless_asked_for(weights):
    import torch

    variant(weights)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_keras_on_a_gpu_agrees(weights, reference, backend):
    from converters.bench.contestants import KERAS_VARIANT
    from converters.isolated import IsolatedPredictor

    pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    if backend == "jax" and not jax_has_a_gpu():
        pytest.skip("this JAX was built without CUDA")
    arguments = {"path": str(weights), "size": [320, 320]}
    with IsolatedPredictor(KERAS_VARIANT, arguments, {**ON_CUDA, "KERAS_BACKEND": backend}) as predictor:
        report = judge(predictor, reference)
    assert report.ok, report.summary()


def jax_has_a_gpu() -> bool:
    code = "import jax; raise SystemExit(jax.default_backend() != 'gpu')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_onnxruntime_on_cuda_agrees(reference, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime was built without CUDA")
    from converters import Options, convert
    from converters.bench.onnx_variants import OnnxVariant

    options = Options(size=(320, 320))
    path = convert(reference.checkpoint, "onnx", tmp_path, options=options)[0].path
    report = judge(OnnxVariant(str(path), tf32=False), reference)
    assert report.ok, report.summary()


def requires(runtime: str) -> None:
    """Skips where onnxruntime was built without CUDA; Torch was asked already."""
    if runtime == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime was built without CUDA")


def same_mask(one, other) -> bool:
    """Within a grey level on 99.9 % of the pixels."""
    apart = np.abs(np.asarray(one, int) - np.asarray(other, int))
    return bool((apart <= 1).mean() >= 0.999)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_photograph_has_the_same_mask_on_a_gpu(cat, runtime):
    requires(runtime)
    session = Session(BUNDLED, runtime=runtime, device="cuda")
    assert (session.engine.device, session.predictor.together > 1) == ("cuda", True)
    assert same_mask(session.mask(cat), Session(BUNDLED, runtime="torch").mask(cat))


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_folder_has_the_same_masks_on_a_gpu_whatever_is_run_together(cat, tmp_path, runtime):
    requires(runtime)
    (tmp_path / "in").mkdir()
    for index in range(9):
        cat.crop((index, index, index + 200, index + 180)).save(tmp_path / "in" / f"{index}.png")
    done = called("mask", tmp_path / "in", "-o", tmp_path / "out", "--runtime", runtime, "--device", "cuda")
    assert done.returncode == 0, done.stderr
    alone = Session(BUNDLED, runtime="torch")
    for path in (tmp_path / "in").iterdir():
        assert same_mask(Image.open(tmp_path / "out" / path.name), alone.mask(Image.open(path)))


def test_auto_takes_the_gpu_and_says_so(tmp_path, monkeypatch, cat):
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path))
    monkeypatch.delenv("U2ZOO_RUNTIME", raising=False)
    session = Session(BUNDLED, device="auto")
    assert str(session.engine).startswith(f"engine: {session.engine.runtime} on cuda, ")
    assert same_mask(session.mask(cat), Session(BUNDLED, runtime="torch").mask(cat))


def test_an_artifact_is_verified_on_a_gpu(tmp_path):
    requires("onnx")
    from converters import Options, convert

    path = convert(BUNDLED, "onnx", tmp_path, options=Options(size=(320, 320)))[0].path
    done = called("verify", path, "--against", BUNDLED, "--device", "cuda")
    assert (done.returncode, "agrees" in done.stdout) == (0, True), done.stdout

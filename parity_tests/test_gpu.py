"""The network on a GPU computes what it computes in float64, as far as each precision goes. Skipped without a GPU."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import SMALL, hard_checkpoint

from converters.parity import Reference, iou, judge

# (IoU of the masks at least, mean absolute error at most); float32 is held to the noise floor. TF32 and fp16 keep 10
# bits of a product: the bounds of converted files at fp16. bf16 keeps 7: OpenVINO's gives u2netp IoU 0.962.
BOUNDS = {"tf32": (0.98, 0.005), "float16": (0.98, 0.005), "bfloat16": (0.95, 0.02)}


def cuda() -> str | None:
    """Why there is no GPU to test on."""
    if find_spec("torch") is None:
        return "Torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"no CUDA device (torch {torch.__version__})"
    return None


pytestmark = pytest.mark.skipif(cuda() is not None, reason=f"needs a GPU: {cuda()}")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("gpu") / "small.safetensors"
    save_file(hard_checkpoint(SMALL).full_state(), path)
    return path


@pytest.fixture(scope="module")
def reference():
    return Reference(hard_checkpoint(SMALL), (320, 320))


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
    least, most = BOUNDS[dtype]
    masks = np.concatenate([network(x[None])["mask"] for x in reference.pictures])
    pairs = list(zip(masks, reference.masks, strict=True))
    assert np.mean([iou(a > 0.5, b > 0.5) for a, b in pairs]) >= least
    assert np.mean([np.abs(a - b).mean() for a, b in pairs]) <= most


def test_tf32_is_off_unless_asked_for(weights):
    import torch

    variant(weights)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_keras_on_a_gpu_agrees(weights, reference, backend):
    from converters.remote import RemotePredictor

    pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    if backend == "jax" and not jax_has_a_gpu():
        pytest.skip("this JAX was built without CUDA")
    # JAX and Keras on Torch take TF32 for products unless told otherwise.
    environment = {"KERAS_BACKEND": backend, "JAX_DEFAULT_MATMUL_PRECISION": "highest", "NVIDIA_TF32_OVERRIDE": "0"}
    arguments = {"path": str(weights), "size": [320, 320]}
    with RemotePredictor("keras", arguments, environment) as predictor:
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

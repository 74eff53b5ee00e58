"""The second route to TensorFlow: our ONNX file through onnx2tf, in a process of its own and without a network."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ExportError, MissingExtraError
from u2net_zoo.system import scratch_folder

from ..options import Options, output_names

__all__ = ["convert_with_onnx2tf"]

# onnx2tf fetches this sample from the network for every model with three input channels, unless it lies in the current
# directory; its values only feed onnx2tf's own checks.
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
WORKER = Path(__file__).with_name("onnx2tf_worker.py")


def convert_with_onnx2tf(checkpoint: Checkpoint, path: Path, options: Options, *, tflite: bool) -> None:
    """Writes a SavedModel, or a TFLite file, to `path`. Raises ExportError with onnx2tf's last line."""
    from .onnx_format import Onnx

    if find_spec("onnx2tf") is None:
        raise MissingExtraError("--via onnx2tf", "onnx2tf", "onnx2tf")
    with scratch_folder() as folder:
        scratch = Path(folder)
        Onnx().write(checkpoint, scratch / "model.onnx", Onnx().settle(_onnx_options(options)))
        np.save(scratch / SAMPLE, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
        command = [sys.executable, "-P", str(WORKER), str(options.batch or 0)]
        done = subprocess.run(command, cwd=scratch, capture_output=True)
        files = sorted((scratch / "out").glob(f"*_float{16 if options.precision == 'fp16' else 32}.tflite"))
        if done.returncode or not files:
            lines = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines() or ["no output"]
            raise ExportError(f"onnx2tf failed: {lines[-1]}")
        if tflite:
            shutil.move(files[0], path)
        else:
            _save_named(scratch / "out", path, output_names(checkpoint.arch, options))


def _save_named(saved: Path, path: Path, names: Sequence[str]) -> None:
    """Saves onnx2tf's model again under the names `image`, `mask`, `side1` …: it numbers its outputs."""
    import tensorflow as tf

    inner = tf.saved_model.load(str(saved)).signatures["serving_default"]
    (given, spec), *_ = inner.structured_input_signature[1].items()

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        @tf.function(input_signature=[tf.TensorSpec(spec.shape, spec.dtype, name="image")])
        def __call__(self, image: Any) -> dict[str, Any]:
            maps = self.inner(**{given: image})
            numbered = sorted(maps, key=lambda name: (len(name), name))
            return {name: maps[key] for name, key in zip(names, numbered, strict=True)}

    served = Served()
    tf.saved_model.save(served, str(path), signatures={"serving_default": served.__call__})


def _onnx_options(options: Options) -> Options:
    return Options(size=options.size, batch=options.batch, outputs=options.outputs)

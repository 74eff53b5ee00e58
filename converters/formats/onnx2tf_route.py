"""The second route to TensorFlow: our ONNX file through onnx2tf, in its own environment and without a network."""

import shutil
from pathlib import Path

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, ExportError, MissingExtraError
from u2net_zoo.system import scratch_folder

from ..format import Format
from ..options import Options, output_names
from ..progress import report
from ..tools import open_tool

__all__ = ["convert_with_onnx2tf"]

# onnx2tf fetches this sample from the network for every model with three input channels, unless it lies in the current
# directory; its values only feed onnx2tf's own checks.
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
CONVERT = "converters.formats.onnx2tf_worker:convert"


def convert_with_onnx2tf(checkpoint: Checkpoint, path: Path, options: Options, *, tflite: bool) -> None:
    """Writes a SavedModel, or a TFLite file, to `path`.

    Raises:
        ExportError: onnx2tf failed; with its last line. MissingExtraError: ONNX cannot be written.
        DownloadError, OutputError, UsageError: its environment, which is made on first use, could not be.
    """
    from .onnx_format import Onnx

    _require(Onnx())
    with scratch_folder() as folder, open_tool("onnx2tf") as tool:  # which ends before its current folder goes
        scratch = Path(folder)
        Onnx().write(checkpoint, scratch / "model.onnx", Onnx().settle(_onnx_options(options)))
        np.save(scratch / SAMPLE, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
        report("onnx2tf: converting")
        names = [] if tflite else list(output_names(checkpoint.arch, options))
        try:
            tool.call(CONVERT, {"folder": folder, "batch": options.batch or 0, "names": names})
        except ArtifactError as error:
            raise ExportError(f"onnx2tf failed: {error}") from None
        files = sorted((scratch / "out").glob(f"*_float{16 if options.precision == 'fp16' else 32}.tflite"))
        if not files:
            raise ExportError("onnx2tf failed: no output")
        shutil.move(files[0] if tflite else scratch / "named", path)


def _require(onnx: Format) -> None:
    try:
        onnx.require()
    except MissingExtraError as error:
        raise MissingExtraError("--via onnx2tf", error.package, onnx.extra) from None


def _onnx_options(options: Options) -> Options:
    return Options(size=options.size, batch=options.batch, outputs=options.outputs)

"""What runs in onnx2tf's own environment: `model.onnx` of a folder becomes `out/` there. Imported there alone."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from u2net_zoo.errors import ArtifactError

__all__ = ["convert"]


def convert(folder: str, batch: int, names: Sequence[str]) -> None:
    """Writes `out/` (a SavedModel, TFLite files) into `folder`; it becomes the current folder.

    Args:
        batch: 0 for one of any size.
        names: of the outputs, in order: `named/` is the SavedModel again, with `image` in and these out. None: it is
            not written.

    Raises:
        ArtifactError: onnx2tf gave up; its last line.
    """
    os.chdir(folder)  # where onnx2tf looks for its sample
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            _run(batch)
    except SystemExit as error:  # it ends the process when an op fails
        lines = said.getvalue().strip().splitlines()
        raise ArtifactError(error.code if isinstance(error.code, str) else (lines or ["no output"])[-1]) from None
    if names and Path("out").is_dir():
        _save_named(Path("out"), Path("named"), names)


def _run(batch: int) -> None:
    import onnx2tf

    onnx2tf.convert(
        input_onnx_file_path="model.onnx",
        output_folder_path="out",
        output_signaturedefs=True,
        copy_onnx_input_output_names_to_tflite=True,
        not_use_onnxsim=True,  # a program that is looked for on the PATH, and would be one of another environment
        non_verbose=True,
        batch_size=batch or None,
    )


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

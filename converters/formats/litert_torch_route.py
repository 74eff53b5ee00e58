"""The direct route from Torch to TFLite: litert-torch in its own environment, with the Torch that is installed here."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.dilation import kinds_of
from u2net_zoo.errors import ArtifactError, ExportError, MissingExtraError
from u2net_zoo.system import scratch_folder

from ..options import DEFAULT_SIZE, Options, output_names
from ..progress import report
from ..tools import open_tool

__all__ = ["convert_with_litert_torch"]

CONVERT = "converters.formats.litert_torch_worker:convert"


def convert_with_litert_torch(checkpoint: Checkpoint, path: Path, options: Options) -> None:
    """Writes a TFLite file in float32 to `path`.

    Raises:
        ExportError: litert-torch failed; with its last line. MissingExtraError: there is no Torch.
        DownloadError, OutputError, UsageError: its environment, which is made on first use, could not be.
    """
    place = find_spec("torch")
    if place is None or place.origin is None:
        raise MissingExtraError("--via litert-torch", "torch", "torch")
    folded = checkpoint.fold()
    with scratch_folder() as folder, open_tool("litert-torch") as tool:
        np.savez(Path(folder, "state.npz"), **dict[str, Any](folded.state))
        report("litert-torch: converting")
        request = {
            "folder": folder,
            "packages": str(Path(place.origin).parents[1]),
            "blocks": kinds_of(folded.arch),
            "final": folded.arch.final,
            "shape": [options.batch or 1, *(options.size or DEFAULT_SIZE), folded.arch.in_ch],
            "names": list(output_names(folded.arch, options)),
        }
        try:
            tool.call(CONVERT, request)
        except ArtifactError as error:
            raise ExportError(f"litert-torch failed: {error}") from None
        shutil.move(Path(folder, "named.tflite"), path)

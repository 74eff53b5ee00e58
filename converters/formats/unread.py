"""Files that are models and are not read: what they are, and what makes a readable one of them."""

import json
import re
from pathlib import Path

__all__ = ["reason"]

TOPOLOGY = 1 << 16  # bytes of a model.json in which its kind is looked for
CHECKPOINT = (
    "a TensorFlow checkpoint: weights without their network; where its code is:"
    " model.load_weights('{name}'), then model.save('model.keras')"
)


def reason(path: Path) -> str | None:
    """One line about `path`, which may be the prefix of several files; None: it is nothing that is known here."""
    found = _folder(path) if path.is_dir() else _file(path)
    return found or _checkpoint(path)


def _folder(path: Path) -> str | None:
    if path.suffix == ".mlmodelc" or (path / "coremldata.bin").exists():
        return "a Core ML model that Xcode compiled; name the .mlpackage or .mlmodel that it was compiled from"
    model = path / "model.json"
    return _tensorflow_js(model) if model.is_file() else None


def _file(path: Path) -> str | None:
    if path.name == "saved_model.pb":
        return f"a part of a SavedModel; name its folder, {path.parent}"
    if path.suffix == ".pb" and path.is_file():
        return (
            "a frozen TensorFlow graph; make ONNX of it: python -m tf2onnx.convert"
            f" --graphdef {path.name} --inputs INPUT:0 --outputs OUTPUT:0 --output model.onnx"
        )
    return _tensorflow_js(path) if path.suffix == ".json" and path.is_file() else None


def _tensorflow_js(path: Path) -> str | None:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(TOPOLOGY)
    kind = re.search(r'"format"\s*:\s*("[\w-]+")', head)
    if '"modelTopology"' not in head:
        return None
    if kind and json.loads(kind[1]) == "graph-model":
        return "a TensorFlow.js graph; name the SavedModel or the Keras file that it was made from"
    return (
        "a TensorFlow.js model; make a Keras file of it: tensorflowjs_converter"
        f" --input_format tfjs_layers_model --output_format keras {path} model.h5"
    )


def _checkpoint(path: Path) -> str | None:
    """Of a checkpoint's parts, of its prefix, or of the folder of several."""
    part = re.fullmatch(r"(.+)\.(index|data-\d+-of-\d+|meta)", path.name)
    stem = part[1] if part else path.name
    beside = list(path.parent.glob("*.index")) if path.parent.is_dir() else []
    if path.is_dir():
        inside = sorted(path.glob("*.index"))
        return CHECKPOINT.format(name=path / inside[0].stem) if inside else None
    if any(index.name == f"{stem}.index" for index in beside) and (part or not path.exists()):
        return CHECKPOINT.format(name=path.parent / stem)
    return None

"""Which file of a repository is the network, and what belongs beside it."""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..errors import InputError
from ..identify import shortlist
from .commit import Commit, RemoteFile
from .hub_name import HubName, is_path

__all__ = ["ORDER", "Model", "choose", "named_model"]

# What is taken first where a repository has several kinds: weights alone before files that hold a graph too, and what
# holds no code before what may.
ORDER = (
    (".safetensors",), (".pth",), (".pt", ".ckpt", "pytorch_model.bin"), (".onnx",), (".keras",), (".h5", ".hdf5"),
    (".tflite",), (".mlpackage",), (".mlmodel",), (".aimodel",), ("saved_model.pb",), (".xml",), (".param",), (".mnn",),
    (".pte",), (".torchscript", ".ptl"), (".pt2",),
)  # fmt: skip
FOLDERS = (".mlpackage", ".aimodel")  # a kind's ending is the folder's
BESIDE = {".xml": ".bin", ".param": ".bin"}
PACKAGE = re.compile(rf"(?:.*?/)?[^/]+(?:{'|'.join(map(re.escape, FOLDERS))})(?=/)")
OF_SAVED_MODEL = re.compile(r"saved_model\.pb|keras_metadata\.pb|fingerprint\.pb|(variables|assets)/.+")
# The same network in another number format, as transformers.js calls such files.
VARIANT = re.compile(r"[_-](fp16|bf16|int8|uint8|quantized|q1|q2|q4|q8|q1f16|q2f16|q4f16|bnb4)$")
MANY = 8  # candidates of one kind that are looked into


@dataclass(frozen=True)
class Model:
    """A model of a repository.

    Attributes:
        path: what is read: a file, or a folder.
        files: what has to be fetched for it.
    """

    path: str
    files: tuple[RemoteFile, ...]


def named_model(name: HubName, commit: Commit) -> Model:
    """The file or folder that was named. Raises InputError: the repository has none of that name."""
    models = [*_models(commit), *(Model(file.path, (file,)) for file in commit.files)]
    found = next((model for model in models if model.path == name.file), None)
    if found:
        return found
    if inside := _inside(commit, name.file):
        return Model(name.file, inside)
    held = shortlist(sorted(model.path for model in _models(commit))) or "none that is a model"
    raise InputError(f"{name}: the repository has no such file; it has {held}")


def choose(name: HubName, commit: Commit, is_network: Callable[[str], bool | None]) -> Model:
    """The one model that a repository is taken to be about: of the first kind in `ORDER` that it has.

    Args:
        is_network: whether a safetensors file holds a network of the family; None where that cannot be said.

    Raises:
        InputError: there is none, or there are several.
    """
    models, others = list(_models(commit)), []
    for kinds in ORDER:
        found = _without_variants([model for model in models if _kind(model) in kinds])
        if kinds == (".safetensors",) and len(found) <= MANY:
            others = [model for model in found if is_network(model.path) is False]
            found = [model for model in found if model not in others]
        if len(found) == 1:
            return found[0]
        if found:
            names = shortlist(sorted(str(name.of(model.path)) for model in found))
            raise InputError(f"{name}: the repository has {len(found)} models; name one of {names}")
    if others:
        raise InputError(f"{name}: no U²-Net: {shortlist(model.path for model in others)} hold other tensors")
    held = shortlist(sorted(file.path for file in commit.files if is_path(file.path))) or "nothing"
    raise InputError(f"{name}: the repository has no file of a kind that can be read; it has {held}")


def _inside(commit: Commit, folder: str) -> tuple[RemoteFile, ...]:
    """All of a folder, names that no system can keep too: without them it would be another folder."""
    return tuple(file for file in commit.files if file.path.startswith(f"{folder}/"))


def _models(commit: Commit) -> Iterator[Model]:
    """Every model, once: a folder counts as one, and so do files that belong together."""
    by_path = {file.path: file for file in commit.files if is_path(file.path)}
    packages = sorted({found[0] for path in by_path if (found := PACKAGE.match(path))})
    for folder in packages:
        yield Model(folder, _inside(commit, folder))
    for path, file in by_path.items():
        if path.startswith(tuple(f"{folder}/" for folder in packages)):
            continue
        folder, name = posixpath.split(path)
        if name == "saved_model.pb" and folder:
            inside = ((other, path.removeprefix(f"{folder}/")) for path, other in by_path.items() if _in(path, folder))
            yield Model(folder, tuple(other for other, own in inside if OF_SAVED_MODEL.fullmatch(own)))
        elif kind := _ending(name):
            beside = by_path.get(path.removesuffix(kind) + BESIDE[kind]) if kind in BESIDE else None
            if beside or kind not in BESIDE:
                yield Model(path, (beside, file) if beside else (file,))


def _in(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _ending(name: str) -> str | None:
    kinds = (kind for kinds in ORDER for kind in kinds if kind not in FOLDERS)
    return next((kind for kind in kinds if name.lower().endswith(kind) and name != kind), None) or (
        name if name == "pytorch_model.bin" else None
    )


def _kind(model: Model) -> str | None:
    if model.path.endswith(FOLDERS):
        return posixpath.splitext(model.path)[1]
    saved = any(file.path == f"{model.path}/saved_model.pb" for file in model.files)
    return "saved_model.pb" if saved else _ending(posixpath.basename(model.path))


def _without_variants(models: Iterable[Model]) -> list[Model]:
    """Without other number formats of a model that is there too: `model_fp16.onnx` beside `model.onnx`."""
    listed = list(models)
    stems = {posixpath.splitext(model.path)[0] for model in listed}

    def plain(model: Model) -> str:
        return VARIANT.sub("", posixpath.splitext(model.path)[0])

    return [model for model in listed if plain(model) == posixpath.splitext(model.path)[0] or plain(model) not in stems]

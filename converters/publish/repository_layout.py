"""Which file of a publication goes where in the repository."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from u2net_zoo.arch import Architecture
from u2net_zoo.errors import InputError
from u2net_zoo.files import shown_in
from u2net_zoo.preprocessing import Profile

from .browser_config import FILES, configs, obstacle
from .proving import ProvedFile

__all__ = ["Layout", "layout_of"]

IN_ONNX = "onnx"  # the folder in which transformers.js looks


@dataclass(frozen=True)
class Layout:
    """Where everything goes.

    Attributes:
        places: of each proved file, in the order of the files; a folder's is that of the folder.
        contents: path in the repository -> the file it comes from, or its text.
        in_browsers: whether transformers.js loads it.
        obstacle: why it does not, where there is ONNX.
    """

    places: tuple[str, ...]
    contents: dict[str, Path | str]
    in_browsers: bool
    obstacle: str


def layout_of(files: Sequence[ProvedFile], arch: Architecture, profile: Profile) -> Layout:
    """Where transformers.js looks for the ONNX files that take tensors; all others under their own names.

    Raises:
        InputError: two files would have the same place.
    """
    plain = [file for file in files if _is_tensor_onnx(file)]
    places = tuple(_place(file) for file in files)
    contents: dict[str, Path | str] = {}
    for file, place in zip(files, places, strict=True):
        for path, source in _expanded(file, place).items():
            if path in contents:
                raise InputError(
                    f"{file.path}: {contents[path]} has the same place in the repository, {path}; leave one out"
                )
            contents[path] = source
    why = obstacle(arch, profile) if plain else ""
    sizes = {file.result.size for file in plain}
    if len(sizes) > 1:
        why = "the ONNX files take several sizes"
    if plain and not why:
        made = configs(arch, profile, plain[0].result.size, [file.result.precision for file in plain])
        contents |= {name: _text(content) for name, content in made.items()}
    return Layout(places, contents, bool(plain) and not why, why)


def _is_tensor_onnx(file: ProvedFile) -> bool:
    return file.fmt.name == "onnx" and file.is_plain and file.result.precision in FILES


def _place(file: ProvedFile) -> str:
    return f"{IN_ONNX}/{FILES[file.result.precision][0]}" if _is_tensor_onnx(file) else file.path.name


def _expanded(file: ProvedFile, place: str) -> dict[str, Path]:
    """Path in the repository -> file, of an artifact and what stands beside it."""
    if file.path.is_dir():
        inside = sorted(path for path in shown_in(file.path) if path.is_file())
        found = {f"{place}/{path.relative_to(file.path).as_posix()}": path for path in inside}
    else:
        found = {place: file.path}
        for path in file.fmt.files(file.path):  # a pair of files
            found.setdefault(path.name if path != file.path else place, path)
    return {**found, **{path.name: path for path in file.beside}}


def _text(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"

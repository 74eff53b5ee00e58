"""A saved `.mlpackage`: manifest, specification and weights, read from disk as they were written.

A package is a folder: `Manifest.json` names the root model below `Data/`, which is a protobuf (`Model` of Apple's
Model.proto). Constants beyond a few numbers are in weight files beside it, named `@model_path/weights/weight.bin`.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from u2net_zoo.errors import ArtifactError, UnknownNameError, one_line

from . import proto
from .features import Feature, feature
from .program import Function, decode
from .storage import WeightFile

__all__ = ["Package"]

MANIFEST = "Manifest.json"
MANIFEST_LIMIT = 1 << 20
MODEL_PATH = "@model_path/"


class Package:
    """An ML Program as data: what goes in and comes out, the operations, where the constants lie.

    Attributes:
        path: the package.
        inputs, outputs: what goes in and comes out, by name, in the model's order.
        function: the program.
        metadata: author, license, version, description and whatever its maker added.
        spec_version: 6 (iOS 15) … 9 (iOS 18).
    """

    def __init__(self, path: Path, spec: Any, function: Function, name: str):
        self.path = path
        self.function = function
        self.spec_version = int(spec.specificationVersion)
        self.metadata = _metadata(spec.description.metadata)
        described = _description(spec, name)
        self.inputs: Mapping[str, Feature] = {item.name: feature(item) for item in described.input}
        self.outputs: Mapping[str, Feature] = {item.name: feature(item) for item in described.output}
        self._check_names()

    @classmethod
    def open(cls, path: str | Path, function: str | None = None) -> "Package":
        """The package at `path`; `function`: which one of a package with several, its default one otherwise.

        Every constant is checked to be in its weight file; none is read yet.

        Raises:
            ArtifactError: it is no package, or a broken one: one line says what is wrong and where.
            UnknownNameError: it has no such function.
        """
        path = Path(path)
        try:
            return cls._open(path, function)
        except ArtifactError as error:
            raise ArtifactError(f"{path.name}: {error}") from error

    @classmethod
    def _open(cls, path: Path, function: str | None) -> "Package":
        model = root_model(path)
        spec = _specification(model)
        program = spec.mlProgram
        name = function or spec.description.defaultFunctionName or "main"
        if name not in program.functions:
            if function is None:
                raise ArtifactError(f"its program has no function {name!r}; it has {sorted(program.functions)}")
            raise UnknownNameError("function", name, program.functions)
        return cls(path, spec, decode(program.functions[name], _weight_files(path, model.parent)), name)

    def _check_names(self) -> None:
        missing = [name for name in self.function.inputs if name not in self.inputs]
        missing += [name for name in self.outputs if name not in self.function.outputs]
        if missing:
            raise ArtifactError(f"the model's description and its program disagree about {missing[0]!r}")


def inside(folder: Path, relative: str, root: Path) -> Path:
    """`folder / relative`, which must stay below `root` even when links are followed.

    Raises:
        ArtifactError: it does not.
    """
    parts = PurePosixPath(relative)
    target = folder / parts
    leads_out = parts.is_absolute() or ".." in parts.parts or PureWindowsPath(relative).drive
    if leads_out or "\0" in relative or "\\" in relative:
        raise ArtifactError(f"path {relative!r} leaves the package")
    if not target.resolve().is_relative_to(root.resolve()):
        raise ArtifactError(f"path {relative!r} leaves the package through a link")
    return target


def root_model(path: Path) -> Path:
    """The file that a package's manifest names as its model, inside the package. Raises ArtifactError."""
    manifest = path / MANIFEST
    if not path.is_dir() or not manifest.is_file():
        raise ArtifactError(f"not an .mlpackage: a folder with {MANIFEST} was expected")
    if manifest.stat().st_size > MANIFEST_LIMIT:
        raise ArtifactError(f"{MANIFEST} is larger than {MANIFEST_LIMIT} bytes")
    try:
        entries = json.loads(manifest.read_bytes())
        relative = entries["itemInfoEntries"][entries["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{MANIFEST} names no root model ({one_line(error)})") from error
    model = inside(path / "Data", str(relative), path)
    if not model.is_file():
        raise ArtifactError(f"its model file {str(relative)!r} is missing")
    return model


def _specification(model: Path) -> Any:
    message: Any = importlib.import_module("google.protobuf.message")
    try:
        spec = proto.load("Model_pb2").Model.FromString(model.read_bytes())
    except (message.DecodeError, ValueError) as error:
        raise ArtifactError(f"{model.name} is truncated or no Core ML model ({one_line(error)})") from error
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise ArtifactError(f"{model.name} holds a {kind or 'model without a type'}, not an ML Program")
    return spec


def _weight_files(path: Path, folder: Path) -> Callable[[str], WeightFile]:
    files: dict[str, WeightFile] = {}

    def find(name: str) -> WeightFile:
        if name not in files:
            if not name.startswith(MODEL_PATH):
                raise ArtifactError(f"weight file {name!r} does not start with {MODEL_PATH}")
            files[name] = WeightFile(inside(folder, name.removeprefix(MODEL_PATH), path))
        return files[name]

    return find


def _description(spec: Any, name: str) -> Any:
    """The features of function `name`; packages with several functions describe each, others describe their one."""
    return next((item for item in spec.description.functions if item.name == name), spec.description)


def _metadata(spec: Any) -> dict[str, str]:
    named = {
        "author": spec.author,
        "license": spec.license,
        "version": spec.versionString,
        "description": spec.shortDescription,
    }
    return {key: value for key, value in named.items() if value} | dict(spec.userDefined)

"""The zip archives of TorchScript and torch.export -> arrays, without Torch and without unpickling.

TorchScript keeps its module tree in a pickle. It is not executed: a small machine knows the few opcodes that Torch
writes, every class becomes a plain record, and anything else is an error.
Source of the layout: PyTorch's documentation on serialization ("TorchScript serialization") and pickle's opcodes.
"""

import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from u2net_zoo.errors import CheckpointError, one_line
from u2net_zoo.limits import LARGEST, member

__all__ = ["STEPS", "Record", "dilations", "exported", "exported_dilations", "records", "tensors"]

STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8",
            "IntStorage": "<i4", "BoolStorage": "?", "ByteStorage": "u1", "CharStorage": "i1"}  # fmt: skip
EXPORTED = {6: "<f2", 7: "<f4", 8: "<f8", 5: "<i8"}  # ScalarType of torch.export's schema
MARK = object()
FIRST = "stage1.rebnconvin"
# Stride, padding and dilation of a convolution, as TorchScript's code writes them; the dilation is kept.
STEPS = r"\[\d+, \d+\], (?:\[\d+, \d+\]|\"\w+\"), \[(\d+), \d+\]"
CALL = re.compile(rf"conv(?:olution|2d)\([^\[\]]*{STEPS}")
LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")


@dataclass
class Record:
    """What a pickle says about an object: its class and its state; also a call's name and arguments."""

    name: str
    state: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[Any, ...] = ()


def records(content: bytes) -> Any:
    """The value that a pickle describes, with records in place of objects. Raises CheckpointError."""
    try:
        return _Machine().run(content)
    except CheckpointError:
        raise
    except Exception as error:  # pickletools raises ValueError, an empty stack IndexError, a wrong value TypeError
        raise CheckpointError(f"damaged TorchScript ({type(error).__name__}: {error})") from None


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        operations: Iterator[tuple[Any, Any, Any]] = pickletools.genops(content)
        for opcode, argument, _ in operations:
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in VALUES:
                self.stack.append(argument)
            elif name in LITERALS:
                self.stack.append(LITERALS[name])
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            elif name == "GLOBAL":
                self.stack.append(Record(argument.replace(" ", ".")))
            else:
                self.step(name)
        raise CheckpointError("damaged TorchScript: its pickle has no end")

    def step(self, name: str) -> None:
        method = getattr(self, f"op_{name.lower()}", None)
        if method is None and name != "PROTO":
            raise CheckpointError(f"refused: its pickle uses {name}, which Torch does not write")
        if method:
            method()

    def marked(self) -> list[Any]:
        place = max(i for i, item in enumerate(self.stack) if item is MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def pop(self, count: int) -> list[Any]:
        items = [self.stack.pop() for _ in range(count)]
        return items[::-1]

    def op_mark(self) -> None:
        self.stack.append(MARK)

    def op_empty_tuple(self) -> None:
        self.stack.append(())

    def op_empty_list(self) -> None:
        self.stack.append([])

    def op_empty_dict(self) -> None:
        self.stack.append({})

    def op_tuple(self) -> None:
        self.stack.append(tuple(self.marked()))

    def op_tuple1(self) -> None:
        self.stack.append(tuple(self.pop(1)))

    def op_tuple2(self) -> None:
        self.stack.append(tuple(self.pop(2)))

    def op_tuple3(self) -> None:
        self.stack.append(tuple(self.pop(3)))

    def op_append(self) -> None:
        target, value = self.pop(2)
        target.append(value)
        self.stack.append(target)

    def op_appends(self) -> None:
        items = self.marked()
        self.stack[-1].extend(items)

    def op_setitem(self) -> None:
        target, key, value = self.pop(3)
        target[key] = value
        self.stack.append(target)

    def op_setitems(self) -> None:
        items = self.marked()
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def op_newobj(self) -> None:
        kind, _ = self.pop(2)
        self.stack.append(Record(kind.name))

    def op_reduce(self) -> None:
        kind, arguments = self.pop(2)
        self.stack.append(Record(kind.name, arguments=tuple(arguments)))

    def op_build(self) -> None:
        target, state = self.pop(2)
        target.state = dict(state) if isinstance(state, dict) else {}
        self.stack.append(target)

    def op_binpersid(self) -> None:
        self.stack.append(Record("storage", arguments=tuple(self.stack.pop())))


def tensors(archive: zipfile.ZipFile, root: str, folder: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """(dotted path, array) of every tensor below `value`; storages are in `root/folder/`. Each object is seen once."""
    stack: list[tuple[str, Any]] = [("", value)]
    seen: set[int] = set()
    while stack:
        path, item = stack.pop()
        if isinstance(item, Record) and item.name.startswith("torch._utils._rebuild_tensor"):
            yield path, _tensor(archive, f"{root}/{folder}/", item.arguments)
            continue
        if isinstance(item, Record | dict | tuple | list):
            if id(item) in seen:
                continue
            seen.add(id(item))
            content = item.state if isinstance(item, Record) else item
            pairs = content.items() if isinstance(content, dict) else enumerate(content)
            stack.extend((f"{path}.{key}" if path else str(key), child) for key, child in reversed(list(pairs)))


def dilations(archive: zipfile.ZipFile, root: str, tree: Any) -> dict[str, int]:
    """Unit path -> dilation, of a module tree whose convolutions lie at `conv_s1` of their units, or are heads.

    Each convolution has a class of its own, whose code calls Torch with the numbers.
    """
    found: dict[str, int] = {}
    stack: list[tuple[str, Any]] = [("", tree)]
    seen: set[int] = set()
    while stack:
        path, item = stack.pop()
        if not isinstance(item, Record) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item.state.get("weight"), Record):
            found[path] = _dilation(archive, root, item.name)
        stack.extend((f"{path}.{key}" if path else key, child) for key, child in item.state.items())
    return _by_units(found)


def _dilation(archive: zipfile.ZipFile, root: str, kind: str) -> int:
    name = f"{root}/code/{kind.rpartition('.')[0].replace('.', '/')}.py"
    if name not in archive.namelist():
        return 0
    match = CALL.search(member(archive, name).decode("utf-8", "replace"))
    return int(match[1]) if match else 0


def _by_units(found: dict[str, int]) -> dict[str, int]:
    """By the path of the unit instead of the module: without a wrapper's prefix, and without `conv_s1`."""
    units = {path.removesuffix(".conv_s1"): number for path, number in found.items()}
    start = next((path.removesuffix(FIRST) for path in units if path.endswith(FIRST)), "")
    return {path.removeprefix(start): number for path, number in units.items()}


def _tensor(archive: zipfile.ZipFile, folder: str, arguments: tuple[Any, ...]) -> np.ndarray:
    try:
        storage, offset, size, stride, *_ = arguments
        _, kind, key, *_ = storage.arguments
        dtype = STORAGES[kind.name.rpartition(".")[2]]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError("damaged TorchScript: a tensor of an unknown kind") from None
    return _view(member(archive, f"{folder}{key}"), dtype, offset, size, stride)


def _view(content: bytes, dtype: str, offset: int, size: Any, stride: Any) -> np.ndarray:
    """A copy of the strided tensor in `content`, which has to lie inside it."""
    item = np.dtype(dtype).itemsize
    dims = [(int(n), int(step)) for n, step in zip(size, stride, strict=True)]
    count = int(np.prod([n for n, _ in dims], dtype=object))
    last = int(offset) + sum((n - 1) * step for n, step in dims)
    if any(n < 1 or step < 0 for n, step in dims) or offset < 0 or (last + 1) * item > len(content):
        raise CheckpointError(
            f"damaged archive: a tensor of shape {tuple(n for n, _ in dims)} lies outside its storage"
        )
    if count * item > LARGEST:
        raise CheckpointError(f"a tensor of {count} numbers is in no U²-Net")
    flat = np.frombuffer(content, dtype, offset=int(offset) * item)
    strides = tuple(step * item for _, step in dims)
    return np.lib.stride_tricks.as_strided(flat, tuple(n for n, _ in dims), strides).copy()


def exported(archive: zipfile.ZipFile, root: str) -> dict[str, np.ndarray]:
    """The named weights of a torch.export archive, from its raw files. Raises CheckpointError."""
    folder = f"{root}/data/weights/"
    try:
        config = json.loads(member(archive, f"{folder}model_weights_config.json"))["config"]
        return {name: _exported_tensor(archive, folder, entry) for name, entry in config.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"damaged torch.export archive ({type(error).__name__}: {error})") from None


def _exported_tensor(archive: zipfile.ZipFile, folder: str, entry: Any) -> np.ndarray:
    if entry["use_pickle"]:
        raise CheckpointError(f"refused: {entry['path_name']} is a pickle")
    meta = entry["tensor_meta"]
    size, stride = ([n["as_int"] for n in meta[key]] for key in ("sizes", "strides"))
    content = member(archive, f"{folder}{entry['path_name']}")
    return _view(content, EXPORTED[meta["dtype"]], meta["storage_offset"]["as_int"], size, stride)


def exported_dilations(graph: bytes) -> dict[str, int]:
    """Unit path -> dilation, of the graph of a torch.export archive, a JSON document. Raises CheckpointError."""
    try:
        module = json.loads(graph)["graph_module"]
        specs = [spec["parameter"] for spec in module["signature"]["input_specs"] if "parameter" in spec]
        names = {spec["arg"]["name"]: spec["parameter_name"].removesuffix(".weight") for spec in specs}
        calls = [node["inputs"] for node in module["graph"]["nodes"] if ".conv" in node["target"]]
        given = [{entry["name"]: entry["arg"] for entry in inputs} for inputs in calls]
        plain = {"as_ints": [1]}
        return _by_units(
            {
                names[each["weight"]["as_tensor"]["name"]]: max(each.get("dilation", plain)["as_ints"])
                for each in given
                if each["weight"]["as_tensor"]["name"] in names  # and no buffer
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"damaged archive: its graph ({one_line(error)})") from None

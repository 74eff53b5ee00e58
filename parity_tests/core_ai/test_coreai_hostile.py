"""Files of Core AI that somebody made by hand, a byte at a time: each ends in one line, and soon."""

import hashlib
import json
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.coreai import Asset
from converters.coreai.asset import HASH, METADATA, PROGRAM
from converters.coreai.functions import YIELD, Function, Operation, Value, ValueType, check
from converters.coreai.interpreter import Interpreter
from converters.coreai.kernels import KERNELS
from converters.coreai.kernels.table import Kernel
from converters.mil.dtypes import BY_NAME
from u2net_zoo.errors import ArtifactError

WORDS = (
    "aicode", "serialization.asset", "dataflow.graph_v1", "dataflow.output_v1", "primitive.relu_v1", "main",
    "dataflow.invoke_v1",
)  # fmt: skip
VERSION, NAME, OTHER, NUMBERS = range(4)  # the file's attributes; the last is a list of one number


def number(value: int) -> bytes:
    """As MLIR stores numbers, in as few bytes as it takes."""
    more = next(n for n in range(9) if value < 1 << 7 * (n + 1))
    return ((value << 1 | 1) << more).to_bytes(more + 1, "little")


def numbers(*values: int) -> bytes:
    return b"".join(map(number, values))


def listed(*entries: bytes) -> bytes:
    return number(len(entries)) + b"".join(number(len(each)) + each for each in entries)


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + number(len(content)) + content


def operation(kind: int, operands: tuple[int, ...], results: int, properties: int | None = None) -> bytes:
    mask = (64 if properties is not None else 0) | (2 if results else 0) | (4 if operands else 0)
    made = numbers(results, *[0] * results) if results else b""
    own = b"" if properties is None else number(properties)
    return number(kind) + bytes([mask]) + number(OTHER) + own + made + numbers(len(operands), *operands)


def asset(folder: Path, steps: list[bytes], values: int, named: int = OTHER, called: int = NAME) -> Path:
    """An asset of one function of `steps`, which takes value 0 and answers value 1.

    Args:
        values: how many the steps make.
        named, called: attributes that stand where the inputs are named, and where a function is called.
    """
    texts = number(len(WORDS)) + numbers(*(len(word) + 1 for word in reversed(WORDS)))
    texts += b"".join(word.encode() + b"\0" for word in WORDS)
    kinds = [n for n in range(1, len(WORDS)) if WORDS[n] != "main"]
    dialects = numbers(1, 0, len(kinds), 0, len(kinds), *(n << 1 for n in kinds))
    encoded = [numbers(2, 64) + b"\1" + number(20260101 << 1), numbers(1, 5), number(100), numbers(5, 1, VERSION)]
    encoded += [numbers(2, 1, 2, 1), number(6)]  # the types: float32 (1)
    offsets = numbers(4, 2, 0, 6, *(len(each) << 1 | 1 for each in encoded))
    graph = numbers(named, OTHER << 1, OTHER, OTHER, OTHER, NAME, OTHER, OTHER, OTHER)
    properties = listed(number(2 << 1) + number(VERSION << 1 | 1), graph, numbers(OTHER, called, OTHER))
    block = number((len(steps) + 1) << 1 | 1) + numbers(1, 0) + b"\0" + b"".join(steps) + operation(2, (1,), 0)
    function = number(1) + bytes([64 | 16]) + numbers(OTHER, 1, 3) + section(4, numbers(1, 1 + values) + block)
    whole = number(0) + bytes([64 | 16]) + numbers(OTHER, 0, 3) + section(4, numbers(1, 0, 2) + function)
    parts = {0: texts, 1: dialects, 2: b"".join(encoded), 3: offsets, 4: number(2) + whole, 8: properties}
    content = b"ML\xefR" + number(6) + b"x\0" + b"".join(section(*part) for part in parts.items())
    path = folder / "hostile.aimodel"
    path.mkdir()
    (path / PROGRAM).write_bytes(content)
    (path / HASH).write_bytes(hashlib.sha256(content).digest())
    (path / METADATA).write_text(json.dumps({"assetVersion": "2.0"}), encoding="utf-8")
    return path


RELU = operation(3, (0,), 1)


def test_a_file_made_by_hand_is_read(tmp_path):
    function = Asset.open(asset(tmp_path, [RELU, RELU], 2)).function
    assert [step.kind for step in function.operations] == ["relu_v1", "relu_v1"]


def test_values_are_bounded_as_operations_are(tmp_path):
    path = asset(tmp_path, [operation(3, (0,), 140_000), RELU], 140_001)
    with pytest.raises(ArtifactError, match="more than 131072 operations, values and attributes"):
        Asset.open(path)


def test_many_values_cost_no_more_for_each_operation():
    def seconds(values: int, operations: int) -> float:
        first = Operation("constant_v1", (), {}, tuple(Value(n, None) for n in range(values)))
        steps = [Operation("relu_v1", (0,), {}, (Value(values + n, None),)) for n in range(operations)]
        start = time.process_time()
        check(Function("main", {}, {"o": values}, (first, *steps)))
        return time.process_time() - start

    together = seconds(50_000, 2_000)
    assert together < 5 * (seconds(50_000, 1) + seconds(1, 2_000)) + 0.05  # each by each it was 50 times that


@pytest.mark.parametrize(
    ("how", "says"),
    [({"named": NUMBERS}, ""), ({"called": NUMBERS}, r"calls a function \[20260101\], which is not there")],
    ids=["numbers for names", "a list for a function"],
)
def test_attributes_of_another_kind_than_they_should_be(how, says, tmp_path):
    invoke = operation(4, (0,), 1, 2)
    path = asset(tmp_path, [RELU if "named" in how else invoke], 1, **how)
    if not says:
        assert list(Asset.open(path).function.inputs) == ["input0"]
        return
    with pytest.raises(ArtifactError, match=says):
        Asset.open(path)


def test_a_constant_whose_value_is_no_bytes_is_named():
    one = Value(0, ValueType(BY_NAME["fp32"], (1,)))
    with pytest.raises(ArtifactError, match="a constant without a value or a shape"):
        Operation("constant_v1", (), {"value": ("name", ["text"])}, (one,)).literal()


def defined(steps: tuple[Operation, ...], answer: int, kind: ValueType) -> Asset:
    """A function of one composite operation, which nothing here knows: it is computed by its definition."""
    body = (*steps, Operation(YIELD, (answer,), {}, ()))
    whole = Operation("thing_v1", (0,), {}, (Value(1, kind),), (5,), body)
    return Asset(Path("a.aimodel"), Function("main", {"x": Value(0, kind)}, {"y": 1}, (whole,)), {})


def test_constants_in_definitions_count():
    kind = ValueType(BY_NAME["fp32"], (1 << 24,))  # 64 MiB each
    literal = {"value": (True, np.float32(1).tobytes())}
    steps = tuple(Operation("constant_v1", (), literal, (Value(10 + n, kind),)) for n in range(24))
    with pytest.raises(ArtifactError, match="its constants have more than"):
        Interpreter(defined(steps, 33, kind))


def test_values_in_a_definition_are_dropped_after_their_last_use(monkeypatch):
    alive: list[weakref.ref] = []
    most = 0

    def relu(x):
        nonlocal most
        made = torch.relu(x)
        alive.append(weakref.ref(made))
        most = max(most, sum(each() is not None for each in alive))
        return made

    monkeypatch.setitem(KERNELS, "relu_v1", Kernel(relu, True))
    kind = ValueType(BY_NAME["fp32"], (4,))
    steps = tuple(Operation("relu_v1", (9 + n if n else 5,), {}, (Value(10 + n, kind),)) for n in range(8))
    x = np.array([-1, 0, 1, 2], np.float32)
    found = Interpreter(defined(steps, 17, kind)).evaluate({"x": x})
    np.testing.assert_array_equal(found["y"], np.maximum(x, 0))
    assert most <= 2

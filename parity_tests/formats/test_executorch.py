"""ExecuTorch's programs: what is in them, what they say of themselves, integers, damage that is found first."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters import FORMATS, Options, convert
from converters.formats.executorch_program import WORDS, NamedData, Parsed, parsed_program
from converters.formats.executorch_writing import program_bytes
from converters.formats.flat_tables import Packed, packed, root
from converters.formats.xnnpack_graph import xnnpack_graph
from converters.formats.xnnpack_int8 import integer_graph
from converters.formats.xnnpack_parsing import parsed_payload
from converters.formats.xnnpack_payload import HEADER, Payload, Scales, packed_payload
from converters.formats.xnnpack_schema import NONE, Cat, Conv, DataType, NodeKind, Pooling, Resize, Transpose
from converters.loading import read_source
from converters.quantise.equalise import equalised
from converters.quantise.integer_layers import SCALE
from converters.quantise.rounding import rounded
from converters.quantise.sensitivity import SensitivityAnalysis
from u2net_zoo import Session
from u2net_zoo.errors import ArtifactError, CheckpointError, OptionError

SIZE = (64, 64)
WHOLE = Options(size=SIZE, outputs="all")
FMT = FORMATS["executorch"]


@pytest.fixture(scope="module")
def path(made) -> Path:
    return made.one("executorch", WHOLE).path


@pytest.fixture(scope="module")
def graph(path) -> Payload:
    return graph_in(parsed_program(path))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)


def graph_in(program: Parsed) -> Payload:
    (step,) = program.method.steps
    return parsed_payload(step.data, program.named)


def test_it_opens_in_executorch_alone(path, x):
    import torch
    from executorch.extension.pybindings import _C

    program = _C._load_program(str(path), False, 0, _C.Verification.InternalConsistency)
    answers = program.load_method("forward").call([torch.from_numpy(x)])
    expected = FMT.run(path)(x)
    assert [tuple(answer.shape) for answer in answers] == [value.shape for value in expected.values()]
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(answers, expected.values(), strict=True))


def test_it_is_one_call_of_one_delegate(path):
    program = parsed_program(path)
    assert [step.name for step in program.method.steps] == ["XnnpackBackend"]
    assert set(program.methods) == {"forward", WORDS}


def test_the_same_network_is_the_same_file(small):
    one, other = (program_bytes(xnnpack_graph(small, FMT.settle(WHOLE)), {"a": "b"}) for _ in range(2))
    assert one == other


def test_a_program_tells_an_app_what_it_is(small_file, tmp_path):
    """By a method that every runtime can call."""
    from executorch.extension.pybindings import _C

    (artifact,) = convert(small_file, "executorch", tmp_path, options=Options(size=SIZE, profile="isnet"))
    (text,) = _C._load_program(str(artifact.path)).load_method(WORDS).call([])
    said = json.loads(text)
    assert said == parsed_program(artifact.path).words
    assert (said["u2zoo.prepared"], said["u2zoo.takes"], said["u2zoo.outputs"]) == ("isnet", "normalised", "mask")
    assert len(said["sha256"]) == 64
    assert said["u2zoo.parity"] == artifact.report.summary()
    assert set(json.loads(said["u2zoo.parity.json"])) == {"mask"}


def test_a_session_prepares_photographs_as_the_file_says(small, tmp_path):
    (artifact,) = convert(small, "executorch", tmp_path, options=Options(size=SIZE, profile="isnet"))
    assert Session(str(artifact.path)).profile.name == "isnet"
    assert Session(str(artifact.path), profile="paper").profile.name == "paper"


def test_pictures_are_refused():
    with pytest.raises(OptionError, match="cannot honour --io image; it has: tensor"):
        FMT.settle(Options(io="image"))


@pytest.mark.parametrize("size", [(65, 47), (33, 64)], ids=str)
def test_sides_that_do_not_divide_are_pooled_and_resized_as_torch_does(small, tmp_path, size):
    (artifact,) = convert(small, "executorch", tmp_path, options=replace(WHOLE, size=size))
    assert artifact.report.ok


# --- other places for constants


def test_constants_behind_the_graph_are_read(graph):
    """As files were written before constants had names."""
    payload, named = packed_payload(graph)
    content = bytearray(payload)
    fields = HEADER.unpack(bytes(content[: HEADER.size]))
    start, behind = fields[2], b""
    tables = root(memoryview(bytes(content))[start : start + fields[3]])
    for entry in tables.tables(8)[1:]:
        key, place = entry.text(2), start + entry.fields[0]
        struct.pack_into("<Q", content, place, len(behind))
        text = start + entry._target(entry.fields[2])
        struct.pack_into("<I", content, text, 0)
        behind += named[key]
    content[: HEADER.size] = HEADER.pack(*fields[:5], len(behind))
    found = parsed_payload(memoryview(bytes(content) + behind), {})
    kept = {n: each.data for n, each in graph.tensors.items() if each.data is not None}
    assert len(kept) > 100
    assert all(np.array_equal(found.tensors[n].data, data) for n, data in kept.items())


def test_weights_that_are_elsewhere_are_asked_for(graph):
    payload, _ = packed_payload(graph)
    with pytest.raises(ValueError, match=r"are in another file; put that \.ptd beside it"):
        parsed_payload(memoryview(payload), NamedData({}, None))


# --- integers


@pytest.fixture(scope="module")
def level(small):
    return equalised(small, SensitivityAnalysis(small, [np.abs(np.ones((1, 3, *SIZE), np.float32))]).reach())


def test_layers_in_integers_are_stored_and_read_as_such(small, level, tmp_path):
    eight = [unit.path for unit in small.arch.units() if unit.relu][1:]
    content = program_bytes(integer_graph(level, FMT.settle(WHOLE), eight))
    (tmp_path / "int8.pte").write_bytes(content)
    found, state = read_source(tmp_path / "int8.pte"), level.fold().state
    for unit in small.arch.units():
        kernel = state[f"{unit.conv_path}.weight"]
        expected = rounded(kernel, "int8") if unit.path in eight else kernel
        assert np.array_equal(found.fold().state[f"{unit.conv_path}.weight"], expected)
    total = len(small.arch.units())
    assert found.meta["quantised"] == f"int8 per channel in {len(eight)} of {total} convolutions"
    stored = graph_in(Parsed(content)).tensors.values()
    assert sum(each.data.nbytes for each in stored if each.dtype == DataType.qcint8) == sum(
        state[f"{unit.conv_path}.weight"].size for unit in small.arch.units() if unit.path in eight
    )


def test_integers_are_one_delegate_whatever_stays_in_floats(small, level, x):
    units = [unit.path for unit in small.arch.units() if unit.relu][1:]
    for eight in (units, units[::2], units[1::2], units[:1], []):
        program = Parsed(program_bytes(integer_graph(level, FMT.settle(WHOLE), eight)))
        assert [step.name for step in program.method.steps] == ["XnnpackBackend"]
        found = graph_in(program)
        kinds = {found.tensors[node.output].dtype for node in found.nodes}
        assert (DataType.qint8 in kinds) == bool(eight)


def test_integers_compute_what_their_scales_say(small, level, tmp_path):
    """Against Torch with the same kernels and maps rounded to the same steps: within two steps of the mask's range."""
    photograph = np.random.default_rng(1).random((1, 3, *SIZE)).astype(np.float32)
    exact = FMT.settle(replace(WHOLE, outputs="mask"))
    unit = next(unit.path for unit in small.arch.units() if unit.relu and unit.path.endswith("rebnconv1"))
    (tmp_path / "one.pte").write_bytes(program_bytes(integer_graph(level, exact, [unit])))
    (tmp_path / "none.pte").write_bytes(program_bytes(integer_graph(level, exact, [])))
    analysis = SensitivityAnalysis(level, [photograph], grid=float(SCALE))
    kernels = {unit: rounded(analysis.kernels[unit], "int8")}
    (cost,) = analysis.costs(kernels)
    one, none = (FMT.run(tmp_path / f"{name}.pte")(photograph)["output0"] for name in ("one", "none"))
    assert float(np.abs(one - none).mean()) == pytest.approx(cost.mae, rel=0.2, abs=1e-4)


# --- the library is not handed what would end the process


def changed(graph: Payload, kind: NodeKind, place: int, value: object) -> Payload:
    """The graph with a field of the first node of that kind changed."""
    index = next(n for n, node in enumerate(graph.nodes) if node.kind == kind)
    node = replace(graph.nodes[index], fields={**graph.nodes[index].fields, place: value})
    return replace(graph, nodes=(*graph.nodes[:index], node, *graph.nodes[index + 1 :]))


@pytest.mark.parametrize(
    ("kind", "place", "value", "says"),
    [
        (NodeKind.Conv2d, Conv.x, 10_000, "a value that is not there|takes what no node before it makes"),
        (NodeKind.Conv2d, Conv.filter, NONE, "lacks an input"),
        (NodeKind.Conv2d, Conv.y, 0, "makes what is there already"),
        (NodeKind.Conv2d, Conv.outputs, 1 << 20, "has the numbers"),
        (NodeKind.Conv2d, Conv.outputs, 5, "has not a kernel"),
        (NodeKind.Conv2d, Conv.inputs, 2, "has a kernel for 2 channels"),
        (NodeKind.Conv2d, Conv.stride_height, 0, "has the numbers"),
        (NodeKind.Conv2d, Conv.dilation_width, 3, "which the file calls"),
        (NodeKind.Conv2d, Conv.top, 1 << 30, "padded too far"),
        (NodeKind.Conv2d, Conv.groups, 2, "groups"),
        (NodeKind.MaxPooling2d, Pooling.stride_width, 1, "which the file calls"),
        (NodeKind.MaxPooling2d, Pooling.bottom, 7, "pads"),
        (NodeKind.StaticResizeBilinear2D, Resize.width, 1 << 20, "makes maps"),
        (NodeKind.Concatenate2, Cat.axis, 1, "which the file calls"),
        (NodeKind.Concatenate2, Cat.axis, 7, "joins"),
        (NodeKind.StaticTranspose, Transpose.order, np.array([0, 0, 1, 2], "<u4"), "puts"),
    ],
)
def test_numbers_that_do_not_fit_are_found_before_the_library_sees_them(graph, tmp_path, kind, place, value, says):
    (tmp_path / "broken.pte").write_bytes(program_bytes(changed(graph, kind, place, value)))
    with pytest.raises(ArtifactError, match=says) as told:
        FMT.run(tmp_path / "broken.pte")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape": (1 << 20, 1 << 20)}, "has the shape|bytes for a constant"),
        ({"dtype": 8}, "constants of XNNPACK's type 8"),
        ({"scales": Scales(np.array([np.nan], np.float32))}, "scales, that are not run here"),
    ],
)
def test_values_that_are_not_run_are_refused(graph, tmp_path, change, says):
    n, tensor = next((n, each) for n, each in graph.tensors.items() if each.data is not None)
    broken = replace(graph, tensors={**graph.tensors, n: replace(tensor, **change)})
    (tmp_path / "broken.pte").write_bytes(program_bytes(broken))
    with pytest.raises(ArtifactError, match=says):
        FMT.run(tmp_path / "broken.pte")


def test_a_node_of_another_kind_is_not_run(graph, tmp_path):
    pool = next(n for n, node in enumerate(graph.nodes) if node.kind == NodeKind.MaxPooling2d)
    other = replace(graph.nodes[pool], kind=NodeKind.AvgPooling2d)
    nodes = (*graph.nodes[:pool], other, *graph.nodes[pool + 1 :])
    (tmp_path / "other.pte").write_bytes(program_bytes(replace(graph, nodes=nodes)))
    with pytest.raises(ArtifactError, match="kind AvgPooling2d is not run here; those are: Abs, Add"):
        FMT.run(tmp_path / "other.pte")


def test_a_list_that_leads_to_one_table_again_and_again_is_not_followed():
    content = packed(Packed({0: [Packed({1: 1})] * 3}))
    assert len(root(bytes(content)).tables(0, 3)) == 3
    with pytest.raises(ValueError, match="a list of 3 tables"):
        root(bytes(content)).tables(0, 2)


def test_a_program_for_another_delegate_says_so(path, tmp_path):
    content = path.read_bytes().replace(b"XnnpackBackend", b"NeuralBackend1")
    (tmp_path / "other.pte").write_bytes(content)
    with pytest.raises(ArtifactError, match="is made for the delegate NeuralBackend1, which is not here"):
        FMT.run(tmp_path / "other.pte")
    with pytest.raises(
        CheckpointError, match="inside of the delegate NeuralBackend1; read are those of XnnpackBackend"
    ):
        read_source(tmp_path / "other.pte")

"""Assets of Core AI: what lies on disk is what is read, whoever wrote it, and damage ends in one line."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.damage import KINDS, broken_copy

import converters
from converters import FORMATS, Options
from converters.coreai import Asset
from converters.coreai.asset import HASH, METADATA, PROGRAM
from converters.coreai.bytecode import Bytecode
from converters.coreai.functions import Operation
from converters.coreai.interpreter import Interpreter
from converters.coreai.kernels import KERNELS
from converters.formats.coreai_runtime import by_apple
from converters.loading import read_source
from u2net_zoo.errors import ArtifactError, InputError, OptionError, UnknownNameError, UsageError

pytest.importorskip("coreai", reason="needs Core AI's tools: Linux on x86-64, or macOS 26")

WHOLE = Options(size=(64, 64), outputs="all")
HALF = Options(size=(96, 128), outputs="all", precision="fp16")
COREAI = FORMATS["coreai"]


@pytest.fixture(scope="module")
def path(made) -> Path:
    return made.one("coreai", WHOLE).path


def sealed(source: Path, folder: Path, change) -> Path:
    """A copy whose program is changed, and whose checksum fits it."""
    target = Path(shutil.copytree(source, folder / source.name))
    content = change((target / PROGRAM).read_bytes())
    (target / PROGRAM).write_bytes(content)
    (target / HASH).write_bytes(hashlib.sha256(content).digest())
    return target


def test_the_same_operations_are_read_as_by_apple_s_library(path):
    from coreai._compiler import ir
    from coreai._compiler.context import Context

    def ours(nodes):
        for node in nodes:
            yield f"aicode.{node.kind}", len(node.operands), len(node.results)
            for region in node.regions:
                yield from ours(region.nodes)

    def theirs(operation):
        for each in (o for region in operation.regions for block in region.blocks for o in block.operations):
            yield each.name, len(each.operands), len(each.results)
            yield from theirs(each)

    content = (path / PROGRAM).read_bytes()
    with Context():
        module = ir.Module.parse(content)
        assert list(ours(Bytecode(content).nodes)) == list(theirs(module.operation))


def test_weights_are_the_bytes_of_the_file_and_no_text(path, small):
    kernels = [op.literal() for op in Asset.open(path).function.operations if op.constant and len(kind_of(op)) == 4]
    stored = {kernel.tobytes() for kernel in kernels}
    folded = small.fold().state
    assert all(value.tobytes() in stored for key, value in folded.items() if key.endswith("weight"))


def kind_of(operation: Operation) -> tuple[int | None, ...]:
    kind = operation.results[0].kind
    return kind.shape if kind else ()


def test_nothing_of_this_machine_is_in_the_file(path):
    content = (path / PROGRAM).read_bytes()
    folders = {str(each).encode() for each in (Path.cwd(), Path(converters.__file__).parents[1], Path.home())}
    for word in (*folders - {b"/"}, b"/home", b"site-packages", b"torch_model", b".py"):
        assert word not in content, word


def test_composite_operations_and_their_definitions_agree(path):
    asset, x = Asset.open(path), np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    meant, defined = (Interpreter(asset, by_definition=each).evaluate({"image": x}) for each in (False, True))
    assert meant.keys() == defined.keys() == {"mask", *(f"side{n}" for n in range(1, 7))}
    for name, value in meant.items():
        np.testing.assert_allclose(defined[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.full)])
def test_apple_s_own_runtime_answers_the_same(precision, made):
    artifact = made.one("coreai", WHOLE if precision == "fp32" else HALF)
    x = np.random.default_rng(2).standard_normal((1, 3, *artifact.options.size)).astype(np.float32)
    found = Interpreter(Asset.open(artifact.path)).evaluate({"image": x})
    theirs = by_apple(artifact.path, "main", {"image": x})
    assert found.keys() == theirs.keys()
    for output in artifact.report.outputs:
        bound = 3 * output.noise + 1e-6 if precision == "fp32" else 2 * output.max_abs
        assert np.abs(found[output.name] - theirs[output.name]).max() <= bound, output.name


def test_macos_runs_it_by_core_ai_itself(path, monkeypatch):
    """As far as another system can tell: the same calls, of the runtime that the wheel brings."""
    monkeypatch.setattr("converters.formats.coreai_format.core_ai", lambda: "runs")
    ours, theirs = COREAI.proofs(path)
    x = np.random.default_rng(3).standard_normal((1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(theirs(x)["mask"], ours(x)["mask"], rtol=0, atol=1e-5)
    assert (ours.computes, theirs.computes) == ("", "fp16")


def test_what_apple_s_runtime_refuses_is_one_line(path, tmp_path):
    with pytest.raises(ArtifactError, match="Core AI cannot run it") as told:
        by_apple(path, "other", {"image": np.zeros((1, 3, 64, 64), np.float32)})
    assert "\n" not in str(told.value)


@pytest.mark.full
def test_one_file_takes_a_span_of_sizes(small, tmp_path):
    options = COREAI.settle(Options(size=(64, 64), span=((64, 64), (128, 160)), outputs="mask"))
    COREAI.write(small, tmp_path / "span.aimodel", options)
    predictor = COREAI.run(tmp_path / "span.aimodel")
    assert (predictor.size, predictor.multiple) == (None, small.arch.stride)
    assert COREAI.read(tmp_path / "span.aimodel").fold().arch.blocks == small.fold().arch.blocks
    for size in ((64, 96), (128, 160)):
        x = np.random.default_rng(4).standard_normal((1, 3, *size)).astype(np.float32)
        exact, single = (torch_answer(small, x, double) for double in (True, False))
        assert np.abs(predictor(x)["mask"] - exact).max() <= 3 * np.abs(single - exact).max() + 1e-6


def torch_answer(checkpoint, x, double):
    import torch

    from u2net_zoo import torch_model

    kind = torch.float64 if double else torch.float32
    with torch.no_grad():
        return torch_model.build(checkpoint, outputs="mask").eval().to(kind)(torch.from_numpy(x).to(kind)).numpy()


def test_several_listed_sizes_are_refused():
    with pytest.raises(OptionError, match=r"it takes one, or LOW\.\.HIGH"):
        COREAI.settle(Options(size=(64, 64), sizes=((64, 64), (96, 96))))


def test_the_asset_says_what_it_is(path, small):
    words = json.loads((path / METADATA).read_text(encoding="utf-8"))
    assert words["assetVersion"] == "2.0"
    assert "converted by u2net-zoo" in words["author"]
    assert "float32" in words["description"]
    own = words["creatorDefinedMetadata"]
    assert {"u2zoo.parity", "u2zoo.parity.json", "u2zoo.version", "u2zoo.takes", "architecture"} <= own.keys()


def test_another_function_or_input_is_named(path):
    with pytest.raises(UnknownNameError, match="unknown function 'x'; functions: main"):
        Asset.open(path, "x")
    interpreter = Interpreter(Asset.open(path))
    with pytest.raises(UnknownNameError, match="unknown input 'x'; inputs: image"):
        interpreter.evaluate({"x": np.zeros(1)})
    with pytest.raises(UsageError, match=r"got \(1, 3, 8, 8\); allowed: \(1, 3, 64, 64\)"):
        interpreter.evaluate({"image": np.zeros((1, 3, 8, 8), np.float32)})


def test_an_operation_that_is_not_there_is_named_with_those_that_are(path, monkeypatch):
    monkeypatch.delitem(KERNELS, "max_pool_2d_v1")
    with pytest.raises(ArtifactError, match=r"'max_pool_2d_v1' is not supported; there are: abs_v1, .*where_v1"):
        COREAI.run(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c[:-40], "truncated"),
        (lambda c: b"MLXR" + c[4:], "is no MLIR bytecode"),
        (lambda c: c[:4] + bytes([0x0F]) + c[5:], "MLIR bytecode of version 7; read are 5 to 6"),
        (lambda c: c[:100], "truncated"),
    ],
    ids=["cut", "magic", "version", "start alone"],
)
def test_a_damaged_program_says_what_is_wrong(change, says, path, tmp_path):
    with pytest.raises(ArtifactError, match=says):
        Asset.open(sealed(path, tmp_path, change))


def test_a_program_that_its_checksum_does_not_fit_is_refused(path, tmp_path):
    target = Path(shutil.copytree(path, tmp_path / "a.aimodel"))
    content = bytearray((target / PROGRAM).read_bytes())
    content[len(content) // 2] ^= 1
    (target / PROGRAM).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{PROGRAM} is not the file that {HASH} was made for"):
        Asset.open(target)


def test_an_asset_of_another_version_is_refused(path, tmp_path):
    target = Path(shutil.copytree(path, tmp_path / "a.aimodel"))
    words = json.loads((target / METADATA).read_bytes()) | {"assetVersion": "3.0"}
    (target / METADATA).write_text(json.dumps(words), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"an asset of version '3.0'; read are those of 2\.x"):
        Asset.open(target)


@pytest.mark.parametrize("count", [32, pytest.param(400, marks=pytest.mark.full)])
def test_damage_ends_in_one_line(count, path, tmp_path):
    """Whatever is broken: most copies have a checksum that fits them, so the reader behind it is tried."""
    rng = np.random.default_rng(count)
    said: list[str] = []
    for n in range(count):
        folder = tmp_path / str(n)
        folder.mkdir()
        kind, place, value = KINDS[n % len(KINDS)], rng.random(), int(rng.integers(256))
        broken = broken_copy(path, folder, int(rng.integers(2)) + 1, kind, place, value)
        try:
            checkpoint = read_source(broken)
            said.append(checkpoint.arch.name)
        except InputError as error:
            said.append(str(error))
        shutil.rmtree(folder)
    assert not [text for text in said if "\n" in text or not text]
    assert len({text[-30:] for text in said}) > 3

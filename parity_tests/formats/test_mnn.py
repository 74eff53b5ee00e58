"""MNN's files: opened by MNN alone, other makers' read, both kinds of kernels judged, damage found first."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import SMALL, hard_checkpoint

from converters import FORMATS, Options, convert
from converters.formats import mnn_format, mnn_reader
from converters.formats.mnn_graph import mnn_bytes
from converters.formats.mnn_schema import Common, Conv, Interp, Kind, Op, Parameter, Pool
from converters.loading import read_source
from converters.mask_errors import GreyError
from converters.quantise.mixed_precision import replaced
from converters.quantise.rounding import rounded
from converters.verify.self_check import inspect
from u2net_zoo.errors import ArtifactError, OptionError

SIZE = (64, 64)
WHOLE = Options(size=SIZE, outputs="all")
FMT = FORMATS["mnn"]


@pytest.fixture(scope="module")
def path(made) -> Path:
    return made.one("mnn", WHOLE).path


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)


def test_it_opens_in_mnn_alone(path, x):
    import MNN

    interpreter = MNN.Interpreter(str(path))
    interpreter.setSessionHint(3, 0)
    session = interpreter.createSession({"backend": "CPU", "numThread": 1})
    np.copyto(interpreter.getSessionInput(session).getNumpyData(), x)
    assert interpreter.runSession(session) == 0
    expected = FMT.run(path, exact=True)(x)
    for name, value in expected.items():
        found = interpreter.getSessionOutput(session, name).getNumpyData()
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-6)


def test_the_same_network_is_the_same_file(small, path, tmp_path):
    options = FMT.settle(WHOLE)
    assert bytes(mnn_bytes(small, options)) == path.read_bytes()


def test_the_report_tells_of_both_kinds_of_kernels(made, path, x):
    fast, plain = FMT.run(path)(x), FMT.run(path, exact=True)(x)
    assert any(not np.array_equal(fast[name], plain[name]) for name in plain)  # Winograd's convolution was at work
    report = made.one("mnn", WHOLE).report
    assert report.ok
    assert report.fast.ok
    assert "fast kernels: 100.00% of pixels within 1 grey level" in report.summary()
    assert not report.plain
    assert set(report.to_json()["fast"]) == {"near", "iou", "largest"}


def test_a_file_that_fast_kernels_spoil_is_run_by_plain_ones(small, monkeypatch, tmp_path, x):
    """As if they were those of a network in which every kernel is 1 % larger."""
    other = {k: v * np.float32(1.01) if k.endswith("weight") else v for k, v in small.fold().state.items()}
    wrong = tmp_path / "wrong.mnn"
    wrong.write_bytes(mnn_bytes(replace(small.fold(), state=other), FMT.settle(WHOLE)))
    runtime = mnn_format.MNNRuntime
    with monkeypatch.context() as patch:
        patch.setattr(mnn_format, "MNNRuntime", lambda path, exact=False: runtime(path if exact else wrong, exact))
        (artifact,) = convert(small, "mnn", tmp_path, options=WHOLE)
    assert artifact.report.ok
    assert artifact.report.plain
    assert re.search(r"run by plain kernels, .*: .* \(needed: 99.9%, 0.9995, 2e-03\)$", artifact.report.summary())
    usual, exact = FMT.run(artifact.path), FMT.run(artifact.path, exact=True)
    assert usual.computes == exact.computes == ""
    assert all(np.array_equal(value, usual(x)[name]) for name, value in exact(x).items())
    assert np.array_equal(read_source(artifact.path).state["side1.weight"], small.state["side1.weight"])


def test_usual_files_are_run_by_fast_kernels(path, x):
    usual, exact = FMT.run(path), FMT.run(path, exact=True)
    assert (usual.computes, exact.computes) == ("grey level", "")
    assert any(not np.array_equal(value, usual(x)[name]) for name, value in exact(x).items())


@pytest.mark.parametrize(
    ("change", "ok"),
    [(0.0, True), (1.9e-3, True), (2.1e-3, False), ((slice(0, 2), 2 / 255), False), ((slice(0, 2), np.nan), False)],
)
def test_a_grey_level_is_a_grey_level(change, ok):
    mask = np.where(np.arange(1000) < 300, np.float32(0.1), np.float32(0.9)).reshape(1, 1, 1000)
    found = mask.copy()
    if isinstance(change, tuple):
        found[..., change[0]] += change[1]
    else:
        found += change
    assert GreyError.of([(mask, mask), (found, mask)], 0.0).ok is ok
    assert not GreyError.of([(mask, mask)], 3e-3).ok


# --- files of the vendor's converter

VENDOR = """
import sys, _tools
source, folder = sys.argv[1:]
int8 = ["--weightQuantBits", "8"]
kinds = [["fp32"], ["fp16", "--fp16"], ["int8", *int8], ["symmetric", *int8, "--weightQuantAsymmetric", "0"]]
for name, *options in [*kinds, ["int4", "--weightQuantBits", "4"]]:
    target = f"{folder}/{name}.mnn"
    _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "x", *options])
"""


@pytest.fixture(scope="module")
def vendors(made, tmp_path_factory) -> Path:
    """A folder of files that MNN's compiled converter made of our ONNX file."""
    folder = tmp_path_factory.mktemp("vendors")
    command = [sys.executable, "-c", VENDOR, str(made.one("onnx", WHOLE).path), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.parametrize(("name", "off"), [("fp32", 0), ("fp16", 2**-10), ("int8", 2**-7), ("symmetric", 2**-6)])
def test_weights_of_the_vendors_files_are_read(vendors, small, name, off):
    """`off`: of a kernel's largest weight; the vendor cuts float16 off instead of rounding."""
    found, expected = read_source(vendors / f"{name}.mnn").fold().state, small.fold().state
    assert set(found) == set(expected)
    apart = {key: np.abs(found[key] - value).max() / np.abs(value).max() for key, value in expected.items()}
    assert max(apart.values()) <= off


@pytest.mark.parametrize("name", ["fp32", "fp16", "int8", "int4", "symmetric"])
def test_the_vendors_files_compute_what_is_read_from_them(vendors, name):
    """Integers of one bit more or less would be seen: held to float32's own noise."""
    _, agreement = inspect(vendors / f"{name}.mnn")
    assert agreement.ok, agreement.summary()
    assert agreement.precision == "fp32"
    assert len(agreement.outputs) == 7


def test_what_the_vendors_file_says_of_itself_is_kept(vendors):
    assert mnn_reader.model(vendors / "fp32.mnn").words["u2zoo.takes"] == "normalised"


# --- integers of ours


def test_rounded_kernels_are_stored_in_a_byte_each(small, path, tmp_path, x):
    kernels = {u.path: rounded(small.fold().state[f"{u.conv_path}.weight"], "int8") for u in small.arch.units()}
    network = replaced(small, kernels)
    whole, small_file = tmp_path / "whole.mnn", tmp_path / "int8.mnn"
    whole.write_bytes(mnn_bytes(network, FMT.settle(WHOLE)))
    small_file.write_bytes(mnn_bytes(network, replace(FMT.settle(WHOLE), precision="int8")))
    found, stored = read_source(small_file), mnn_reader.model(small_file).graph().convolutions()
    assert all(np.array_equal(found.fold().state[key], value) for key, value in network.state.items())
    assert {conv.storage for conv in stored} == {"int8 per channel"}
    saved = whole.stat().st_size - small_file.stat().st_size
    assert saved > 2.5 * sum(kernel.size for kernel in kernels.values())
    one, other = (FMT.run(file, exact=True)(x) for file in (whole, small_file))
    assert all(np.array_equal(one[name], other[name]) for name in one)


# --- the engine is not handed what would end the process


def edited(path: Path, target: Path, kind: Kind, edit) -> Path:
    """A copy in which `edit(content, parameter)` changed the first operation of that kind."""
    content = bytearray(path.read_bytes())
    table = next(op for op in mnn_reader.root(bytes(content)).tables(3) if op.integer(Op.kind) == kind)
    edit(content, table)
    target.write_bytes(content)
    return target


def number(field: int, value: int, *inner: int):
    """An edit: `field` of the table inside of the parameter that `inner` leads to."""

    def edit(content, op):
        table = op.table(Op.parameter)
        for place in inner:
            table = table.table(place)
        at = table.fields[field]
        content[at : at + 4] = int(value).to_bytes(4, "little", signed=True)

    return edit


def listed(field: int, value: int):
    """An edit of the first number of an operation's list."""

    def edit(content, op):
        at = op._list(field)[0]
        content[at : at + 4] = int(value).to_bytes(4, "little", signed=True)

    return edit


def both(*edits):
    def edit(content, op):
        for each in edits:
            each(content, op)

    return edit


FAR = both(number(Common.dilate_x, 100, Conv.common), number(Common.dilate_y, 100, Conv.common))


@pytest.mark.parametrize(
    ("kind", "edit", "says"),
    [
        (Kind.Convolution, FAR, "makes a tensor of shape"),  # sides below zero, whose product is above it
        (Kind.Convolution, number(Common.outputs, 1 << 20, Conv.common), "numbers"),
        (Kind.Convolution, number(Common.outputs, 7, Conv.common), "bias"),
        (Kind.Convolution, number(Common.inputs, 2, Conv.common), "kernel"),
        (Kind.Convolution, number(Common.kernel_x, 5, Conv.common), "weights"),
        (Kind.Convolution, number(Common.stride_x, 0, Conv.common), "numbers"),
        (Kind.Pooling, number(Pool.stride_x, 0), "pools"),
        (Kind.Interp, number(Interp.width, 1 << 30), "makes maps"),
        (Kind.Convolution, listed(Op.inputs, 10_000), "takes what no operation before it makes"),
        (Kind.Convolution, listed(Op.inputs, -1), "takes what no operation before it makes"),
        (Kind.Convolution, listed(Op.outputs, 10_000), "makes no tensor"),
        (Kind.Concat, listed(Op.inputs, 0), "joins"),
    ],
)
def test_numbers_that_do_not_fit_are_found_before_the_engine_sees_them(path, tmp_path, kind, edit, says):
    with pytest.raises(ArtifactError, match=says) as told:
        FMT.run(edited(path, tmp_path / "broken.mnn", kind, edit))
    assert "\n" not in str(told.value)


def test_an_operation_that_is_not_looked_at_is_not_run(path, tmp_path):
    def edit(content, op):
        at = op.fields[Op.kind]
        content[at : at + 4] = (600).to_bytes(4, "little")  # a loop

    with pytest.raises(ArtifactError, match="of kind 600, which is not run here; those are: BinaryOp, Cast, Concat"):
        FMT.run(edited(path, tmp_path / "loop.mnn", Kind.Pooling, edit))


def test_classes_as_pictures_are_refused(tmp_path):
    network = hard_checkpoint(replace(SMALL, out_ch=4, final="none"))
    with pytest.raises(OptionError, match="cannot honour --io image for classes; take --io tensor"):
        convert(network, "mnn", tmp_path, options=Options(size=SIZE, io="image", profile="cloth"))


def test_parameters_of_another_kind_are_damage(path):
    op = next(op for op in mnn_reader.model(path).ops if op.kind == Kind.Pooling)
    with pytest.raises(ValueError, match="has no Interp"):
        op.given(Parameter.Interp)

"""`u2zoo bench`: counts, rows, failures as rows."""

import json

import numpy as np
import pytest
from conftest import u2zoo

from converters import Options, convert
from converters.bench import tables
from converters.bench.contestants import Contestant, for_weights
from converters.bench.operations import flops, matmul_gflops
from converters.bench.race import Race
from u2net_zoo.arch import U2NET, U2NETP


@pytest.mark.parametrize(("arch", "gflop"), [(U2NETP, 39.5), (U2NET, 117.2)])
def test_the_work_is_counted_from_the_architecture(arch, gflop):
    assert flops(arch, (320, 320)) / 1e9 == pytest.approx(gflop, rel=0.02)


def test_a_matrix_product_is_measured():
    assert 0.1 < matmul_gflops() < 1e6


@pytest.fixture(scope="module")
def rows(small, small_file):
    """Two runtimes that work, one that is refused, one whose file is missing."""
    contestants = [
        Contestant("Torch folded", "torch", {"path": str(small_file), "step": "folded"}),
        Contestant("onnxruntime", "artifact", {}, converted="onnx"),
        Contestant("refused", "torch", {"path": str(small_file), "step": "fast"}),
        Contestant("missing", "artifact", {"path": str(small_file) + ".onnx"}),
    ]
    return Race(small, (64, 64), peak=100.0).run(contestants, runs=3)


def test_every_runtime_is_a_row_with_its_error_against_the_reference(rows):
    for row in rows[:2]:
        assert row.error is None
        assert row.runs == 3
        assert 0 < row.low <= row.median <= row.high
        assert row.ratio <= 3
        assert row.memory > 1e7
        assert row.load > 0
        assert row.bytes > 1e4
        assert row.share == pytest.approx(row.gflops / 100)


def test_a_failure_is_a_row_and_not_the_end(rows):
    assert [row.name for row in rows] == ["Torch folded", "onnxruntime", "refused", "missing"]
    assert rows[2].error.startswith("Torch variant fast/float32; allowed: ")
    assert "no such file" in rows[3].error


def test_a_runtime_that_does_not_answer_is_stopped_and_its_row_says_so(small, small_file):
    late = Contestant("late", "torch", {"path": str(small_file), "step": "folded"})
    (row,) = Race(small, (64, 64), limit=0.001).run([late], runs=1)
    assert row.error.endswith("no answer within 0.001 s; its runtime was stopped")


def test_tables_and_plots_show_what_ran_and_say_what_did_not(rows, tmp_path):
    text = tables.markdown(rows)
    assert "| onnxruntime |" in text
    assert "- refused: Torch variant" in text
    for name in ("plot.png", "plot.svg"):
        tables.plot(rows, tmp_path / name, "small")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert b"onnxruntime" in (tmp_path / "plot.svg").read_bytes() or b"<svg" in (tmp_path / "plot.svg").read_bytes()


def test_every_runtime_that_is_asked_for_takes_part(small_file):
    names = {c.name for c in for_weights(small_file, (64, 64), "cpu", bf16=False)}
    torch = {f"Torch {step}" for step in ("eager", "folded", "channels-last", "compiled")}
    keras = {f"Keras on {backend}" for backend in ("tensorflow", "jax", "torch")}
    assert torch | keras | {"onnxruntime", "OpenVINO f32", "TFLite (XNNPACK)", "TensorFlow"} <= names
    assert not any("bf16" in name for name in names)
    exact = {c.name: c.exact for c in for_weights(small_file, (64, 64), "cpu", bf16=True)}
    assert not exact["OpenVINO bf16"]
    cuda = {c.name for c in for_weights(small_file, (64, 64), "cuda", bf16=False)}
    wanted = {f"Torch channels-last {dtype}" for dtype in ("float32", "tf32", "float16", "bfloat16")}
    assert wanted | {"onnxruntime CUDA float32", "Keras on torch", "Keras on jax"} <= cuda


def test_the_command_writes_one_object(small, tmp_path):
    path = convert(small, "onnx", tmp_path, options=Options(size=(64, 64)))[0].path
    done = u2zoo("bench", path, "--runs", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (row,) = found["rows"]
    assert found["size"] == [64, 64]
    assert row["images_per_second"] == pytest.approx(1 / row["median"])
    assert np.isfinite(row["max_abs"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["{w}", "--device", "tpu"], "device 'tpu'; allowed: cpu, cuda"),
    (["{w}", "--only", "caffe"], "--only caffe: none of these: Torch eager"),
    (["{w}", "--plot", "plot.pdf"], "plot.pdf: cannot write there; name a file that ends in .png or .svg"),
    (["none.onnx"], "none.onnx: no such file"),
])  # fmt: skip
def test_bad_input_is_one_clear_line(arguments, message, small_file, tmp_path):
    done = u2zoo("bench", *[a.format(w=small_file) for a in arguments], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []

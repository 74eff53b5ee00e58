"""`u2zoo bench`: counts, rows, failures as rows."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.commands import called
from support.data import ROOT
from support.networks import SMALL, hard_checkpoint

from converters import Options, convert
from converters.bench import tables
from converters.bench.contestants import CPU_ONLY, TORCH_VARIANT, Contestant, for_artifact, for_weights
from converters.bench.network import one_network, row_names
from converters.bench.onnx_variants import OnnxVariant
from converters.bench.operations import matmul_gflops
from converters.bench.race import Race, Row
from converters.formats.keras_runtime import finished
from converters.isolated import ARTIFACT
from u2net_zoo import BUNDLED
from u2net_zoo.arch import U2NET, U2NETP
from u2net_zoo.errors import InputError
from u2net_zoo.flops import flops
from u2net_zoo.sources import locate

WHOLE = Options(size=(64, 64), outputs="all")


@pytest.mark.parametrize(("arch", "gflop"), [(U2NETP, 39.5), (U2NET, 117.2)])
def test_the_work_is_counted_from_the_architecture(arch, gflop):
    assert flops(arch, (320, 320)) / 1e9 == pytest.approx(gflop, rel=0.02)


def test_a_matrix_product_is_measured():
    assert 0.1 < matmul_gflops() < 1e6


def test_a_matrix_product_in_another_dtype_leaves_torch_as_it_was():
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    assert 0.1 < matmul_gflops(dtype="tf32") < 1e6
    assert 0.1 < matmul_gflops(dtype="float64") < 1e6
    assert torch.backends.cuda.matmul.allow_tf32 == before


@pytest.fixture(scope="module")
def onnx_file(made):
    return made.one("onnx", WHOLE).path


@pytest.fixture(scope="module")
def picture_file(made):
    return made.one("onnx", Options(size=(64, 64), io="image")).path


@pytest.fixture(scope="module")
def rows(small, small_file):
    """Two runtimes that work, one that is refused, one whose file is missing."""
    contestants = [
        Contestant("Torch folded", TORCH_VARIANT, {"path": str(small_file), "step": "folded"}),
        Contestant("onnxruntime", ARTIFACT, {}, converted="onnx"),
        Contestant("refused", TORCH_VARIANT, {"path": str(small_file), "step": "fast"}),
        Contestant("missing", ARTIFACT, {"path": str(small_file) + ".onnx"}),
    ]
    return Race(small, (64, 64), {"float32": 100.0, "bfloat16": 1.0}).run(contestants, runs=3)


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
    late = Contestant("late", TORCH_VARIANT, {"path": str(small_file), "step": "folded"})
    (row,) = Race(small, (64, 64), limit=0.001).run([late], runs=1)
    assert row.error.endswith("no answer within 0.001 s; its runtime was stopped")


def test_tables_and_plots_show_what_ran_and_say_what_did_not(rows, tmp_path):
    text = tables.markdown(rows)
    assert "| onnxruntime |" in text
    assert "- refused: Torch variant" in text
    assert "GPU MB" not in text
    assert "GPU MB" in tables.markdown([*rows, Row("on a GPU", median=1.0, device_memory=10**9)])
    for name in ("plot.png", "plot.svg"):
        tables.plot(rows, tmp_path / name, "small")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()


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
    wanted |= {f"Torch {step} float32" for step in ("eager", "folded", "compiled")}
    assert wanted | {"onnxruntime CUDA float32", "Keras on torch", "Keras on jax"} <= cuda


def test_the_share_of_a_matrix_product_is_of_one_in_the_same_dtype(small, small_file):
    exact, rounded = (
        Contestant(dtype, TORCH_VARIANT, {"path": str(small_file)}, dtype=dtype) for dtype in ("float32", "bfloat16")
    )
    rows = Race(small, (64, 64), {"float32": 100.0, "bfloat16": 1.0}).run([exact, rounded], runs=1)
    assert [row.share for row in rows] == pytest.approx([rows[0].gflops / 100, rows[1].gflops])
    assert [row.exact for row in rows] == [True, False]


def test_a_file_that_takes_pictures_is_fed_one_and_its_error_is_in_grey_levels(small, picture_file):
    (row,) = Race(small, (64, 64)).run([for_artifact(picture_file, "pictures", "cpu")], runs=1)
    assert (row.error, row.unit, row.ratio) == (None, "grey levels", None)
    assert row.median > 0
    assert row.max_abs <= 1
    assert f" {row.max_abs:.0f} grey level" in tables.aligned([row])[1]


def test_a_wrong_picture_is_grey_levels_off(picture_file):
    (row,) = Race(hard_checkpoint(SMALL, seed=2), (64, 64)).run([for_artifact(picture_file, "other", "cpu")], runs=1)
    assert row.max_abs > 20


def test_onnx_files_run_on_cuda_or_not_at_all(onnx_file):
    """Never on the CPU under the GPU's name."""
    import onnxruntime

    done = called("bench", onnx_file, "--runs", "1", "--device", "cuda", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert row["error"].startswith("onnxruntime was built without CUDAExecutionProvider; it has: ")


@pytest.mark.full
def test_keras_is_not_timed_on_the_cpu_as_if_it_were_a_gpu(small, small_file):
    found = [c for c in for_weights(small_file, (64, 64), "cuda", bf16=False) if c.name.startswith("Keras")]
    blind = [replace(c, environment={**c.environment, **CPU_ONLY}) for c in found]
    rows = Race(small, (64, 64), {}).run(blind, runs=1)
    assert [row.error for row in rows] == ["CUDA: Keras' backend finds no such device"] * 2


def test_the_size_of_a_network_in_two_files_is_that_of_both(small, made):
    path = made.one("openvino", WHOLE).path
    (row,) = Race(small, (64, 64), {}).run([Contestant("o", ARTIFACT, {"path": str(path)})], runs=1)
    (inner,) = Race(small, (64, 64), {}).run(
        [Contestant("o", ARTIFACT, {"path": str(next(path.glob("*.xml")))})], runs=1
    )
    assert row.bytes == inner.bytes == sum(file.stat().st_size for file in path.iterdir())


def test_files_that_no_gpu_runs_are_a_row_that_says_so(small, tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(bytes(100))  # it is not opened
    (row,) = Race(small, (64, 64)).run([for_artifact(path, path.name, "cuda")], runs=1)
    assert row.error == "TFLite runs on the CPU here; on cuda: weights and ONNX files"


@pytest.mark.parametrize("batch", [0, 2])
def test_onnxruntime_is_timed_on_tensors_that_lie_on_the_device(made, batch):
    path = made.one("onnx", Options(size=(64, 64), batch=batch)).path
    predictor = OnnxVariant(str(path), device="cpu")
    x = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    predictor.timed(x)()
    binding = predictor.bound(x)
    predictor.session.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], predictor(x)["mask"])


def test_an_answer_of_jax_is_waited_for_and_not_copied():
    jax = pytest.importorskip("jax")
    x = jax.numpy.ones((800, 800))
    answer = finished(jax.jit(lambda a: a @ a @ a)(x))
    assert isinstance(answer, jax.Array)
    assert answer.is_ready()


def test_files_of_one_name_have_rows_of_their_own(tmp_path):
    paths = [tmp_path / "a" / "net.onnx", tmp_path / "b" / "net.onnx", tmp_path / "b" / "ncnn", tmp_path / "x.onnx"]
    assert row_names(paths, ["ncnn"]) == ["a/net.onnx", "b/net.onnx", "b/ncnn", "x.onnx"]


def test_a_file_of_another_network_is_refused(onnx_file):
    with pytest.raises(InputError, match=r"parameters\), .*u2net_nano.*; a benchmark is of one network$"):
        one_network([locate(BUNDLED).path], [onnx_file])


def test_the_commands_rows_are_all_files_that_it_was_given(onnx_file, tmp_path):
    first, second = (tmp_path / folder / "net.onnx" for folder in "ab")
    for path in (first, second):
        path.parent.mkdir()
        shutil.copy(onnx_file, path)
    done = called("bench", first, second, first, "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["rows"]] == ["a/net.onnx", "b/net.onnx"]
    assert found["against"] == str(first)
    assert not any(row["error"] for row in found["rows"])


@pytest.mark.full
def test_weights_are_what_is_right_wherever_they_stand_and_one_size_is_everyones(small, small_file, tmp_path):
    path = convert(hard_checkpoint(SMALL, seed=2), "onnx", tmp_path, options=Options(size=(64, 96)))[0].path
    done = called("bench", path, small_file, "--runs", "1", "--json", "--only", ".onnx,Keras on torch")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["against"], found["size"]) == (str(small_file), [64, 96])
    ratios = {row["name"]: row["ratio"] for row in found["rows"]}
    assert ratios.pop(path.name) > 3
    assert list(ratios) == ["Keras on torch"]
    assert ratios["Keras on torch"] <= 3


@pytest.mark.full
@pytest.mark.parametrize("suffix", ["mlpackage", "aimodel"])
def test_the_evaluators_benchmark_feeds_what_the_package_takes(suffix, small, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    bench_mil = importlib.import_module("bench_mil")
    model = bench_mil.write(small, 32, "fp32", str(tmp_path / f"small.{suffix}"))
    seconds = bench_mil.compare(model, str(tmp_path / f"small.{suffix}"), 32, 1)
    assert min(seconds.values()) > 0


def test_the_gpus_tests_fail_where_one_is_required_and_none_is_there():
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "parity_tests/models/test_gpu.py", "-k", "tf32_is_off"]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "U2ZOO_GPU": "required"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs a GPU: no CUDA device" in done.stdout


def test_the_command_writes_one_object(onnx_file):
    done = called("bench", onnx_file, "--runs", "2", "--json")
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
    (["{w}", "--markdown", "{w}/table.md"], "table.md: cannot write there: Not a directory"),
    (["none.onnx"], "none.onnx: no such file"),
    (["{w}", "u2net_nano"], "a benchmark is of one network; name one file of weights, and artifacts of it"),
])  # fmt: skip
def test_bad_input_is_one_clear_line(arguments, message, small_file, tmp_path):
    done = called("bench", *[a.format(w=small_file) for a in arguments], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []

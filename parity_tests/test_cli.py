"""The command line: results, JSON, one-line errors, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import u2zoo
from PIL import Image

from converters import FORMATS

FRAMEWORKS = (
    "torch",
    "tensorflow",
    "keras",
    "tf_keras",
    "jax",
    "onnx",
    "onnxruntime",
    "coremltools",
    "h5py",
    "skimage",
)


@pytest.mark.parametrize(
    "code", ["import u2net_zoo, converters", "import u2net_zoo.cli.main", "from converters import convert"]
)
def test_importing_loads_no_framework(code: str):
    check = f"import sys; {code}; print([m for m in {FRAMEWORKS} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"


def test_help_names_every_command_and_format():
    assert u2zoo("--help").returncode == 0
    for command in ("convert", "formats", "mask"):
        assert command in u2zoo("--help").stdout
    text = "".join(u2zoo("convert", "--help", env={**os.environ, "COLUMNS": "200"}).stdout.split())
    assert ",".join(FORMATS) in text


def test_formats_lists_the_registry():
    done = u2zoo("formats", "--json")
    assert [row["name"] for row in json.loads(done.stdout)["formats"]] == list(FORMATS)
    assert all(name in u2zoo("formats").stdout for name in FORMATS)


def test_convert_prints_a_line_per_artifact_and_nothing_else(small_file, tmp_path):
    done = u2zoo("convert", small_file, "--to", "onnx,h5,tflite", "--size", "64", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["onnx", "h5", "tflite"]
    assert all("MB" in line or "kB" in line for line in lines)
    assert all("x noise" in line for line in lines)
    assert done.stderr == ""


def test_convert_json_is_one_object(small_file, tmp_path):
    done = u2zoo("convert", small_file, "--to", "safetensors", "--size", "64x32", "-o", tmp_path, "--json")
    (artifact,) = json.loads(done.stdout)["artifacts"]
    assert artifact["path"] == str(tmp_path / "small.safetensors")
    assert artifact["options"]["size"] == [64, 32]
    assert artifact["parity"]["ok"]
    assert artifact["parity"]["outputs"][0]["ratio"] <= 3


def no_change(folder):
    return sorted(str(p) for p in folder.rglob("*"))


BAD = {
    "no such source": (["convert", "none.pth", "--to", "onnx"], "none.pth: no such file"),
    "format with a typo": (
        ["convert", "{w}", "--to", "tflit"],
        "unknown format 'tflit'; formats: .*did you mean 'tflite'",
    ),
    "no format": (["convert", "{w}", "--to", ""], "unknown format ''; formats: "),
    "size 0": (["convert", "{w}", "--to", "onnx", "--size", "0"], "size '0': allowed is N or HxW"),
    "size -1": (["convert", "{w}", "--to", "onnx", "--size=-1"], "size '-1': allowed is N or HxW"),
    "size that is no number": (["convert", "{w}", "--to", "onnx", "--size", "big"], "size 'big': allowed is N or HxW"),
    "size beyond memory": (
        ["convert", "{w}", "--to", "onnx", "--size", "99999"],
        "sides are whole numbers from 1 to 2048",
    ),
    "batch 0": (["convert", "{w}", "--to", "onnx", "--batch", "0"], "batch '0': allowed are dynamic"),
    "option without a value": (["convert", "{w}"], "Missing option '--to'"),
    "unknown option": (["convert", "{w}", "--fo", "onnx"], "No such option"),
    "what a format cannot do": (
        ["convert", "{w}", "--to", "all", "--precision", "fp16"],
        "format 'keras' cannot honour --precision fp16; it has: fp32",
    ),
    "file where a folder is needed": (
        ["convert", "{w}", "--to", "pth", "-o", "{w}"],
        "cannot write there: File exists",
    ),
    "source as target": (["convert", "{w}", "--to", "safetensors", "-o", "{d}"], "would replace the source itself"),
    "mask over the photograph": (
        ["mask", "{d}/ok.png", "-o", "{d}", "--model", "{w}"],
        "would replace a file that is read",
    ),
    "mask that is no PNG": (["mask", "{d}/ok.png", "-o", "{d}/m.jpg", "--model", "{w}"], "masks are PNG files"),
    "two runtimes": (
        ["mask", "{d}/ok.png", "-o", "{d}/m", "--model", "{w}", "--runtime", "pth,onnx"],
        "unknown runtime 'pth,onnx'; runtimes: .*torch",
    ),
    "empty size": (["convert", "{w}", "--to", "onnx", "--size", ""], "size '': allowed is N or HxW"),
    "batch for weights": (["convert", "{w}", "--to", "pth", "--batch", "2"], "cannot honour --batch 2"),
    "opset 0": (["convert", "{w}", "--to", "onnx", "--opset", "0"], "cannot honour --opset 0"),
    "no such image": (["mask", "none.jpg", "-o", "{d}", "--model", "{w}"], "none.jpg: no such file or folder"),
    "image that is none": (["mask", "{w}", "-o", "{d}", "--model", "{w}"], "not a photograph that can be read"),
    "empty image": (
        ["mask", "{d}/empty.png", "-o", "{d}/m.png", "--model", "{w}"],
        "not a photograph that can be read",
    ),
    "truncated image": (["mask", "{d}/cut.png", "-o", "{d}/m.png", "--model", "{w}"], "cannot be decoded"),
    "folder without images": (["mask", "{d}/nothing", "-o", "{d}/m", "--model", "{w}"], "holds no photographs"),
    "unknown profile": (
        ["mask", "{d}/ok.png", "-o", "{d}/m", "--model", "{w}", "--profile", "papr"],
        "did you mean 'paper'",
    ),
    "model that is none": (
        ["mask", "{d}/ok.png", "-o", "{d}/m", "--model", "{d}/ok.png"],
        "not a model of a known kind",
    ),
    "unknown runtime": (
        ["mask", "{d}/ok.png", "-o", "{d}/m", "--model", "{w}", "--runtime", "onx"],
        "did you mean 'onnx'",
    ),
}


@pytest.fixture
def folder(small_file, tmp_path):
    (tmp_path / "small.safetensors").write_bytes(small_file.read_bytes())
    (tmp_path / "nothing").mkdir()
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / "ok.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "ok.png").read_bytes()[:3000])
    return tmp_path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(folder, case: str):
    arguments, message = BAD[case]
    before = no_change(folder)
    done = u2zoo(*[a.format(w=folder / "small.safetensors", d=folder) for a in arguments], cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    import re

    assert re.search(message, done.stderr), done.stderr
    assert no_change(folder) == before


def test_debug_shows_the_traceback(tmp_path):
    done = u2zoo("--debug", "convert", "none.pth", "--to", "onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_full_disk_is_one_line_and_leaves_nothing(small_file, tmp_path):
    """A real file system of 128 kB, in a mount namespace of its own."""
    script = (
        f"mount -t tmpfs -o size=128k none {tmp_path} && "
        f"{sys.executable} -m u2net_zoo convert {small_file} --to {{}} --size 64 -o {tmp_path}; "
        f"code=$?; ls -A {tmp_path}; exit $code"
    )
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    for name in ("pth", "onnx", "h5", "savedmodel"):
        done = subprocess.run(["unshare", "-m", "sh", "-c", script.format(name)], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, ""), (name, done.stdout, done.stderr)
        assert "No space left" in done.stderr, (name, done.stderr)
        assert len(done.stderr.splitlines()) == 1


def test_killed_at_any_moment_no_half_artifact_has_its_final_name(small_file, tmp_path):
    """kill -9 after ever longer times; what stands under a final name must load, and only partial folders may stay."""
    command = [sys.executable, "-m", "u2net_zoo", "convert", small_file, "--to", "pth,onnx"]
    start = time.monotonic()
    subprocess.run([*command, "--size", "64", "-o", tmp_path / "whole"], check=True, capture_output=True)
    whole = time.monotonic() - start
    out = tmp_path / "out"
    for fraction in np.linspace(0.5, 1.3, 8):
        process = subprocess.Popen(
            [*command, "--size", "64", "-o", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=whole * fraction)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        found = [p for p in out.iterdir() if not p.name.endswith(".partial")] if out.exists() else []
        assert {p.name for p in found} <= {"small.pth", "small.onnx"}
        for path in found:
            fmt = next(f for f in FORMATS.values() if f.accepts(path))
            assert fmt.run(path)(np.zeros((1, 3, 64, 64), np.float32))["mask"].shape == (1, 1, 64, 64)
    assert found


def test_what_a_killed_process_left_is_removed_by_the_next(small_file, tmp_path):
    left = tmp_path / ".small.pth.dead.partial"
    left.mkdir()
    (left / "small.pth").write_bytes(b"half")
    os.utime(left, (0, 0))
    assert u2zoo("convert", small_file, "--to", "pth", "--size", "32", "-o", tmp_path).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["small.pth"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_politely_it_cleans_up(number, small_file, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "u2net_zoo", "convert", small_file, "--to", "savedmodel", "-o", tmp_path],
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests may have it ignored
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert list(tmp_path.iterdir()) == []

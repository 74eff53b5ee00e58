"""The command line: results, JSON, one-line errors, nothing left behind."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.commands import called, u2zoo
from support.data import NANO

from converters import FORMATS, convert
from converters.planning.targets import formats_named
from u2net_zoo.apps import APPLICATIONS

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
    "code", ["import u2net_zoo, converters", "import u2net_zoo.cli.commands", "from converters import convert"]
)
def test_importing_loads_no_framework(code: str):
    check = f"import sys; {code}; print([m for m in {FRAMEWORKS} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"


# Every command's help, as the program is started, in one process: command, exit code, and what it would print.
HELP = """
import contextlib, io, json, sys
from u2net_zoo.cli.commands import app, main
import typer
said = {}
for name in typer.main.get_command(app).list_commands(None):
    sys.argv = ["u2zoo", name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as end:
            said[name] = [end.code, out.getvalue()]
print(json.dumps(said))
"""
COMMANDS = (
    "bench",
    "convert",
    "engines",
    "eval",
    "fetch",
    "formats",
    "frames",
    "info",
    "list",
    "publish",
    "serve",
    "tools",
    "train",
    "verify",
    "video",
    "watch",
)


def test_every_command_starts_and_explains_itself():
    environment = {**os.environ, "COLUMNS": "400", "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert sorted(said) == sorted([*COMMANDS, *APPLICATIONS])
    for name, (code, text) in said.items():
        assert code == 0, name
        assert re.search(rf"Usage: .*{name} \[OPTIONS\]", text), name
        assert "--json" in text or name in ("serve", "video", "train"), name
        assert "Usage: u2zoo" in text, "not `python -m u2net_zoo`: examples and completion go by the program's name"
        assert re.search(r"Examples:\n\n  # .+\n  u2zoo ", text), name
    assert ",".join(FORMATS) in "".join(said["convert"][1].split())
    for kind in APPLICATIONS.values():
        assert kind.title.rstrip(".") in " ".join(said[kind.name][1].split())


def test_help_names_every_command():
    done = called("--help")
    assert done.returncode == 0
    listed = [line.split()[1] for line in done.stdout.splitlines() if re.match("│ [a-z]", line)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {*COMMANDS, *APPLICATIONS}


def test_help_is_grouped_by_what_people_want():
    lines = called("--help").stdout.splitlines()
    panels = [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]
    assert panels == ["Options", "Convert and prove", "Use masks", "Train", "Serve"]
    starts = {name: at for at, line in enumerate(lines) for name in panels if line.startswith(f"╭─ {name} ")}
    place = {line.split()[1]: at for at, line in enumerate(lines) if re.match("│ [a-z]", line)}
    assert starts["Use masks"] < min(place[name] for name in (*APPLICATIONS, "video"))
    assert max(place[name] for name in (*APPLICATIONS, "video")) < starts["Train"] < place["train"] < starts["Serve"]
    assert starts["Convert and prove"] < place["convert"] < place["verify"] < starts["Use masks"]


def test_version_is_one_line():
    from u2net_zoo import __version__

    done = called("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"u2zoo {__version__}\n", "")


def test_formats_lists_the_registry():
    done = called("formats", "--json")
    assert [row["name"] for row in json.loads(done.stdout)["formats"]] == list(FORMATS)
    assert all(name in called("formats").stdout for name in FORMATS)


def test_convert_prints_a_line_per_artifact_and_what_all_of_it_took(small_file, tmp_path):
    done = called("convert", small_file, "--to", "onnx,pth,torchscript", "--size", "64", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["onnx", "pth", "torchscript"]
    assert re.fullmatch(r"in all +\d+\.\d s; float64 reference (\d+\.\d s, beside the writing|known already)", last)
    assert all("MB" in line or "kB" in line for line in lines)
    assert all("x noise" in line for line in lines)
    assert done.stderr == ""


@pytest.mark.full
def test_convert_in_a_process_of_its_own_prints_nothing_of_the_frameworks(small_file, tmp_path):
    done = u2zoo("convert", small_file, "--to", "all", "--size", "64", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")] == [
        *(f.name for f in formats_named("all")),
        "in",
    ]
    assert done.stderr == ""


def test_convert_json_is_one_object(small_file, tmp_path):
    done = called("convert", small_file, "--to", "safetensors", "--size", "64x32", "-o", tmp_path, "--json")
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
    done = called(*[a.format(w=folder / "small.safetensors", d=folder) for a in arguments], cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert no_change(folder) == before


def test_debug_shows_the_traceback(tmp_path):
    done = called("--debug", "convert", "none.pth", "--to", "onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_the_programs_name_alone_says_what_it_is_and_how_to_begin():
    done = called()
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert first.endswith(".")
    assert "U²-Net" in first
    begun = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  u2zoo ")]
    assert begun == ["convert", "mask", "verify"]
    assert "u2zoo --help" in last
    assert len(done.stdout.splitlines()) <= 15


def test_every_weight_file_can_be_read_by_those_who_may_read_the_others(tmp_path):
    convert(NANO, "pth,safetensors", tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1

"""`convert --dry-run`: what the real run would decide and refuse, and nothing written."""

import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from support.artifacts import ALL, nano
from support.commands import called, left
from support.data import NANO, ROOT
from support.lasting import full_for

from converters import FORMATS, Options, convert
from converters.loading import checked_name
from converters.planning import dry_run
from converters.planning.times import recorded_seconds
from u2net_zoo.errors import MissingExtraError, OptionError, OutputError
from u2net_zoo.train.start import adapted
from u2net_zoo.train.storing import write_weights

OF_CALLS = 139_000  # bytes: what the estimate counts of `_debug_bytes`, which the command makes 237,270, 2026-11-26
NEAR = 0.10  # of the real size; what each format wrote of u2net_nano was within 1 % of it, 2026-11-26


def steps_of(done) -> dict:
    assert done.returncode == 0, done.stderr
    return {step["format"]: step for step in json.loads(done.stdout)["steps"]}


def _debug_bytes(path) -> int:
    """What TorchScript keeps of the calls that led to each line: more below a test runner than below the command."""
    with zipfile.ZipFile(path) as archive:
        return sum(member.compress_size for member in archive.infolist() if member.filename.endswith(".debug_pkl"))


@pytest.mark.parametrize("name", ALL)
def test_sizes_are_those_of_the_real_files(name, nano_made, tmp_path):
    made = nano_made.one(name)
    (step,) = dry_run("u2net_nano", name, tmp_path).steps
    size = made.bytes - (_debug_bytes(made.path) if name == "torchscript" else 0)
    expected = step.bytes - (OF_CALLS if name == "torchscript" else 0)
    assert abs(expected - size) <= NEAR * size, (expected, size)
    assert step.target.options == made.options
    assert step.target.path.name == made.path.name
    assert [path.name for path in step.target.beside] == [path.name for path in made.beside]


@pytest.mark.parametrize("name", full_for(["pth", "onnx", "ncnn", "mnn"], "pth", "mnn"))
def test_half_precision_is_counted(name, nano_made, tmp_path):
    options = Options(precision="fp16")
    made = nano_made.one(name, options)
    (step,) = dry_run("u2net_nano", name, tmp_path, options=options).steps
    assert abs(step.bytes - made.bytes) <= NEAR * made.bytes, (step.bytes, made.bytes)


def test_nothing_is_written_and_the_options_in_force_are_shown(tmp_path, home):
    done = called("convert", "u2net_nano", "--to", "all", "--dry-run", "--json", "-o", tmp_path / "out")
    found = steps_of(done)
    assert list(found) == ALL
    assert found["onnx"]["options"] == {
        "size": "320x320", "batch": "dynamic", "precision": "fp32", "outputs": "mask", "io": "tensor", "opset": "17",
        "via": "native",
    }  # fmt: skip
    assert (found["coreml"]["options"]["target"], found["coreml"]["options"]["profile"]) == ("iOS16", "paper")
    assert found["coreml"]["beside"] == [str(tmp_path / "out" / "U2Net_nano+Mask.swift")]
    assert not (tmp_path / "out").exists()
    assert left(home) == []


def test_people_see_a_line_of_options_for_each_file(tmp_path):
    done = called("convert", "u2net_nano", "--to", "onnx,tflite", "--size", "64", "--dry-run", "-o", tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["source", "u2net_nano", "u2net_nano,"]
    assert [line.split()[0] for line in lines if "about" in line and not line.startswith(" ")] == [
        "onnx",
        "tflite",
        "in",
    ]
    assert sum("--size 64x64" in line for line in lines) == 2
    assert lines[-1] == "Nothing was written."
    assert done.stderr == ""


def test_weights_that_are_not_here_are_not_fetched(home, monkeypatch, tmp_path):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    done = called("convert", "u2netp", "--to", "onnx", "--dry-run", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (document["architecture"], document["parameters"]) == ("u2netp", 1_131_181)
    assert document["download_bytes"] > 4_000_000
    assert abs(document["bytes"] - 4_569_669) <= NEAR * 4_569_669  # what u2netp's file takes
    assert (left(home), list(tmp_path.iterdir())) == ([], [])


def test_weights_of_the_hub_that_are_not_here_are_asked_for_and_not_fetched(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    done = called("convert", "hf:owner/name", "--to", "onnx", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert "run `u2zoo fetch hf:owner/name` first" in done.stderr
    assert (left(home), list(tmp_path.iterdir())) == ([], [])


def test_the_web_page_is_planned_without_its_runtime(home, monkeypatch, tmp_path):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    found = steps_of(called("convert", "u2net_nano", "--to", "web", "--dry-run", "--json", "-o", tmp_path))
    assert found["web"]["bytes"] > 40_000_000
    assert left(home) == []


REFUSED = {
    "an unknown format": ["{w}", "--to", "tflit"],
    "an option that a format cannot honour": ["{w}", "--to", "keras", "--precision", "fp16"],
    "a size that the network cannot take": ["{w}", "--to", "coreml", "--size", "100,200"],
    "a profile that is none": ["{w}", "--to", "coreml", "--profile", "papr"],
    "a source that is none": ["none.pth", "--to", "onnx"],
    "a folder of calibration that is none": ["{w}", "--to", "onnx", "--precision", "int8", "--calibration", "none"],
    "the source as target": ["{w}", "--to", "safetensors", "-o", "{d}"],
    "a file where a folder is needed": ["{w}", "--to", "pth", "-o", "{w}"],
    "a file on the way to the folder": ["{w}", "--to", "pth", "-o", "{w}/below"],
    "a folder of somebody else in the way": ["{w}", "--to", "savedmodel", "-o", "{d}"],
    "a Swift file of somebody else in the way": ["{w}", "--to", "coreml", "-o", "{d}"],
    "a web page of another profile": ["{w}", "--to", "web", "--profile", "rembg"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_what_the_real_run_refuses_in_the_same_words(case, small_file, tmp_path):
    (tmp_path / "small.safetensors").write_bytes(small_file.read_bytes())
    (tmp_path / "small_savedmodel").mkdir()
    (tmp_path / "small_savedmodel" / "letter.txt").write_text("mine")
    (tmp_path / "Small+Mask.swift").write_text("// mine")
    before = sorted(tmp_path.rglob("*"))
    words = [word.format(w=tmp_path / "small.safetensors", d=tmp_path) for word in REFUSED[case]]
    real, dry = (called("convert", *words, *more, cwd=tmp_path) for more in ([], ["--dry-run"]))
    assert (dry.returncode, dry.stdout, dry.stderr) == (real.returncode, "", real.stderr)
    assert dry.returncode == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_package_is_shown_with_its_command_and_then_refused(monkeypatch, tmp_path):
    def lacking() -> None:
        raise MissingExtraError("format 'onnx'", "onnx", "onnx")

    monkeypatch.setattr(FORMATS["onnx"], "require", lacking)
    done = called("convert", "u2net_nano", "--to", "onnx,pth", "--dry-run", "-o", tmp_path)
    assert done.returncode == 2
    assert "missing: onnx; pip install " in done.stdout
    assert "u2net_nano.pth" in done.stdout
    assert done.stderr.startswith("error: format 'onnx' needs the package 'onnx', which is not installed: pip install")
    real = called("convert", "u2net_nano", "--to", "onnx,pth", "-o", tmp_path)
    assert real.stderr == done.stderr


def test_an_artifact_that_is_there_is_said_to_be_replaced(nano_made, tmp_path):
    (tmp_path / "u2net_nano.onnx").write_bytes(nano_made.one("onnx").path.read_bytes())
    found = steps_of(called("convert", "u2net_nano", "--to", "onnx,pth", "--dry-run", "--json", "-o", tmp_path))
    assert (found["onnx"]["replaces"], found["pth"]["replaces"]) == (True, False)


def test_a_model_as_source_is_said_to_be_run_first(nano_made, tmp_path):
    source = nano_made.one("onnx").path
    document = json.loads(called("convert", source, "--to", "ncnn", "--dry-run", "--json", "-o", tmp_path).stdout)
    assert document["runs_source"]


def test_the_time_of_a_former_run_is_expected_again(home, small_file, tmp_path):
    options = Options(size=(64, 64))
    before = dry_run(small_file, "pth", tmp_path, options=options).steps[0]
    assert not before.recorded
    (made,) = convert(small_file, "pth", tmp_path / "out", options=options)
    (after,) = dry_run(small_file, "pth", tmp_path, options=options).steps
    assert (after.recorded, after.seconds) == (True, round(made.seconds, 2))
    assert not dry_run(small_file, "pth", tmp_path, options=Options(size=(32, 32))).steps[0].recorded


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seconds": "soon"}', '{"seconds": -1}', " " * 5000])
def test_a_damaged_record_is_as_good_as_none(content, home, small, small_file, tmp_path):
    convert(small_file, "pth", tmp_path, options=Options(size=(32, 32)))
    (record,) = (home / "conversions").iterdir()
    record.write_text(content)
    options = FORMATS["pth"].settle(Options(size=(32, 32)))
    assert recorded_seconds(FORMATS["pth"], small.arch, options) is None


def test_time_grows_with_the_picture(home, tmp_path):
    small, large = (dry_run("u2net_nano", "onnx", tmp_path, options=Options(size=(side, side))) for side in (320, 640))
    assert large.gflop == pytest.approx(4 * small.gflop, rel=0.01)
    assert large.seconds > small.seconds > 0


LOADED = """
import json, sys
from u2net_zoo.cli.commands import main
sys.argv = ["u2zoo", "convert", "u2net_nano", "--to", "all,web", "--dry-run"]
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_it_loads_no_framework(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, env=env, cwd=tmp_path)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert (code, done.stderr) == (0, "")
    frameworks = {"torch", "tensorflow", "keras", "onnx", "onnxruntime", "coremltools", "h5py", "skimage", "openvino"}
    assert not frameworks & set(modules)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a folder that may not be written")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot write there: Permission denied"):
        dry_run("u2net_nano", "pth", tmp_path / "closed" / "below")


EVERY = [
    (fmt.name, option, value)
    for fmt in FORMATS.values()
    for option, values in fmt.choices.items()
    for value in values
    if value is not None
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "option", "value"), EVERY)
def test_every_choice_of_every_format_is_planned_or_refused_in_words(name, option, value, home, monkeypatch, tmp_path):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    done = called("convert", "u2net_nano", "--to", name, f"--{option}", str(value), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0 or (done.returncode == 2 and "unexpected" not in done.stderr), done.stderr


def test_the_time_of_a_search_is_not_guessed(home, tmp_path):
    done = called("convert", "u2net_nano", "--to", "tflite", "--precision", "w8a8", "--dry-run", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (document["seconds"], document["steps"][0]["seconds"]) == (None, None)


def test_why_a_file_takes_no_pictures_is_said(tmp_path, home):
    write_weights(adapted(nano(), 3, 0), tmp_path / "three.safetensors")
    words = ("convert", tmp_path / "three.safetensors", "--to", "coreml", "--dry-run", "-o", tmp_path / "out")
    why = "coreml takes a tensor, not pictures: the network answers 3 channels, profile paper reads one mask;"
    why += " name the weights' own --profile"
    assert why in re.sub(r"\s+", " ", called(*words).stdout)
    assert steps_of(called(*words, "--json"))["coreml"]["remarks"] == [why]
    assert steps_of(called(*words, "--json", "--io", "tensor"))["coreml"]["remarks"] == []


def test_files_are_called_as_somebody_wants(tmp_path, home):
    words = ("convert", NANO, "--to", "safetensors,coreml,ncnn", "--json", "-o", tmp_path / "out")
    found = steps_of(called(*words, "--name", "Street.v2", "--dry-run"))
    names = [os.path.basename(found[name]["path"]) for name in ("safetensors", "coreml", "ncnn")]
    assert names == ["Street.v2.safetensors", "Street.v2.mlpackage", "Street.v2_ncnn"]
    done = called("convert", NANO, "--to", "safetensors", "-o", tmp_path / "out", "--name", "Street v2")
    assert done.returncode == 0, done.stderr
    assert left(tmp_path / "out") == ["Street v2.safetensors"]


NO_NAMES = ["", ".hidden", "_a", "-a", " a", "a.", "a ", "a/b", "a\\b", "..", "a:b", "a*", "a\nb", "a\x1b", "x" * 151]
NO_NAMES += ["中" * 51, "a.onnx", "a.ONNX", "a_savedmodel", "con", "NUL.v2", "com1"]


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_a_name_that_some_system_could_not_keep_is_refused(name):
    with pytest.raises(OptionError, match=re.escape(f"name {name!r}: ")):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "Street", "street-2.v3", "größe", "中" * 50, "console", "a b", "a_b", "7"])
def test_other_names_are_taken_as_they_are(name):
    assert checked_name(name) == name


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_a_wrong_name_is_one_line(more, tmp_path, home):
    done = called("convert", NANO, "--to", "safetensors", "-o", tmp_path / "out", "--name", "a/b", *more)
    assert done.returncode == 2
    assert done.stderr.startswith("error: name 'a/b': allowed are ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()

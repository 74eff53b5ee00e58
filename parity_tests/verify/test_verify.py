"""`u2zoo verify`: figures, exit codes, and one clear line for what cannot be verified."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from PIL import Image
from support import faults
from support.commands import called
from support.networks import SMALL, hard_checkpoint
from support.opening import Here

from converters import Options, convert
from converters.verify import Verifier
from u2net_zoo.preprocessing import PROFILES


@pytest.fixture(scope="module")
def folder(made, small_file, tmp_path_factory):
    """A clean ONNX file, one that answers inverted, one that is something else, a photograph."""
    folder = tmp_path_factory.mktemp("verify")
    clean = folder / "clean.onnx"
    shutil.copy(made.one("onnx", Options(size=(64, 64), outputs="all")).path, clean)
    faults.planted(clean, folder / "inverted.onnx", faults.behind("Sub", constant=1))
    (folder / "small.safetensors").write_bytes(small_file.read_bytes())
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, 64, 64]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "other", values[:1], values[1:])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8),
        folder / "other.onnx",
    )
    (folder / "photos").mkdir()
    (folder / "empty").mkdir()
    Image.effect_noise((50, 40), 90).convert("RGB").save(folder / "photos" / "noise.png")
    return folder


def test_what_agrees_ends_with_0_and_what_differs_with_1(folder):
    run = ("--against", folder / "small.safetensors", "--images", folder / "photos", "--json")
    done = called("verify", folder / "clean.onnx", *run)
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = json.loads(done.stdout)["artifacts"]
    assert found["ok"]
    assert found["diagnosis"] is None
    assert found["model"]["outputs"][0]["ratio"] <= 3
    assert found["pictures"] == [{"name": "noise.png", "mae": found["pictures"][0]["mae"], "iou": 1.0, "off": 0.0}]
    assert found["seconds"] > 0
    assert found["memory_bytes"] > 1e7
    done = called("verify", folder / "clean.onnx", folder / "inverted.onnx", *run)
    assert done.returncode == 1
    assert done.stderr == "error: 1 of 2 outside the bounds: inverted.onnx\n"
    names = [a["diagnosis"] and a["diagnosis"]["explanation"]["name"] for a in json.loads(done.stdout)["artifacts"]]
    assert names == [None, "inverted (1 - mask)"]


BAD = {
    "no artifact": (["{d}/none.onnx"], "none.onnx: no such file"),
    "no model": (["{d}/photos/noise.png"], "not a model of a known kind"),
    "no U²-Net": (
        ["{d}/other.onnx"],
        r"other.onnx: output 'y' has the shape \(\d, 3, 64, 64\)",
    ),
    "another size": (["{d}/clean.onnx", "--size", "96"], "takes 64x64, not --size 96x96; leave --size out"),
    "empty folder": (["{d}/clean.onnx", "--images", "{d}/empty"], "empty: holds no photographs"),
    "report in a file": (["{d}/clean.onnx", "--report", "{d}/clean.onnx/r.html"], "cannot write there"),
    "report of another kind": (["{d}/clean.onnx", "--report", "{d}/r.pdf"], "the report is one HTML file"),
    "a size beyond all": (
        ["{d}/small.safetensors", "--size", "20000"],
        "size 20000x20000: sides are whole numbers from",
    ),
    "unknown profile": (["{d}/clean.onnx", "--profile", "papr"], "unknown profile 'papr'.*did you mean 'paper'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(case, folder):
    arguments, message = BAD[case]
    before = sorted(folder.rglob("*"))
    done = called("verify", *[a.format(d=folder) for a in arguments], "--against", folder / "small.safetensors")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr), done.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_file_with_its_channels_last_is_worked_out(folder):
    """Both ends transposed, as converters from TensorFlow write them."""

    def transpose(model):
        graph = model.graph
        ends = {value.name: f"{value.name}_planar" for value in (graph.input[0], *graph.output)}
        for node in graph.node:
            node.input[:] = [ends.get(name, name) for name in node.input]
            node.output[:] = [ends.get(name, name) for name in node.output]
        make, given = onnx.helper.make_node, graph.input[0].name
        graph.node.insert(0, make("Transpose", [given], [ends[given]], perm=(0, 3, 1, 2)))
        for value in graph.output:
            graph.node.append(make("Transpose", [ends[value.name]], [value.name], perm=(0, 2, 3, 1)))
        for value in (graph.input[0], *graph.output):
            channels = 3 if value.name == given else 1
            for dim, side in zip(value.type.tensor_type.shape.dim[1:], (64, 64, channels), strict=True):
                dim.dim_value = side

    path = faults.planted(folder / "clean.onnx", folder.parent / "last.onnx", transpose)
    done = called("verify", path, "--against", folder / "small.safetensors", "--images", folder / "photos")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_in_the_current_folder_is_run(folder, tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('was run')")
    command = [Path(sys.executable).with_name("u2zoo"), "verify", folder / "clean.onnx"]
    command += ["--against", folder / "small.safetensors", "--images", folder / "photos"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_classes_that_no_profile_reads_are_verified_by_their_tensors(tmp_path):
    checkpoint = hard_checkpoint(replace(SMALL, out_ch=2))
    path = convert(checkpoint, "onnx", tmp_path, options=Options(size=(64, 64)))[0].path
    picture = Image.new("RGB", (9, 9))
    verdict = Verifier(checkpoint, PROFILES["paper"], {"a": picture}, opened=Here).verify(path)
    assert verdict.ok
    assert verdict.pictures == ()


def test_a_page_is_written_whatever_photographs_are_called(folder, tmp_path):
    (tmp_path / "photos").mkdir()
    name = os.fsencode(tmp_path / "photos") + b"/caf\xe9.png"
    shutil.copy(os.fsencode(folder / "photos" / "noise.png"), name)
    page = tmp_path / "report.html"
    source = folder / "small.safetensors"
    done = called(
        "verify", folder / "clean.onnx", "--against", source, "--images", tmp_path / "photos", "--report", page
    )
    assert done.returncode == 0, done.stderr
    assert "caf" in page.read_text("utf-8")


def test_a_reader_that_is_gone_is_not_taken_for_a_page_that_cannot_be_written(folder, tmp_path):
    given = ["verify", folder / "clean.onnx", "--against", folder / "small.safetensors", "--images", folder / "photos"]
    given += ["--report", tmp_path / "report.html"]
    command = shlex.join([sys.executable, "-m", "u2net_zoo", *map(str, given)])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} | true"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert list(tmp_path.iterdir()) == []

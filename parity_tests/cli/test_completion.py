"""Completion, as shells ask for it: names of formats, weights, profiles and runtimes, without a framework."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from support.data import ROOT
from support.lasting import full_for

from converters import FORMATS
from u2net_zoo.catalog import load_catalog
from u2net_zoo.cli import completion
from u2net_zoo.conventions import INPUTS
from u2net_zoo.devices import DEVICES
from u2net_zoo.preprocessing import KNOWN_PROFILES

# What a shell runs: the script that the program shows, and its function for a line of words. It prints what is offered.
BASH = """
source <(u2zoo --show-completion)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_u2zoo_completion u2zoo
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { }
_arguments() { print -r -- $1 }
_files() { print -r -- files }
source <(u2zoo --show-completion)
words=("$@"); CURRENT=$#
_u2zoo_completion
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH}
# The words of a line, the last of them being typed -> some of what is offered, and what is not.
LINES = {
    "a command": (["conv"], {"convert"}, {"verify"}),
    "an application": (["cut"], {"cutout"}, {"crop"}),
    "an option": (["convert", "x.pth", "--prec"], {"--precision"}, {"--profile"}),
    "a format": (["convert", "x.pth", "--to", "on"], {"onnx"}, {"ncnn"}),
    "a format after a comma": (["convert", "x.pth", "--to", "onnx,t"], {"onnx,tflite", "onnx,torchscript"}, {"onnx"}),
    "weights": (["convert", "u2net_c"], {"u2net_cloth_seg"}, {"u2netp"}),
    "weights of an application": (["mask", "a.jpg", "--model", "u2netp"], {"u2netp"}, {"u2net"}),
    "weights to fetch": (["fetch", "u2netp", "sil"], {"silueta"}, {"u2netp"}),
    "a profile": (["mask", "a.jpg", "--profile", "isnet"], {"isnet", "isnet-anime"}, {"paper"}),
    "a runtime": (["cutout", "a.jpg", "--runtime", "t"], {"torch", "tflite"}, {"onnx"}),
    "a device": (["video", "a.mp4", "--device", "c"], {"cpu", "cuda"}, {"rocm"}),
}


@pytest.fixture(scope="module")
def path_with_u2zoo(tmp_path_factory) -> str:
    """PATH on which `u2zoo` is this clone's program."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "u2zoo"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m u2net_zoo "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return os.pathsep.join((str(folder), os.environ["PATH"]))


@pytest.mark.skipif(sys.platform == "win32", reason="shells of Unix")
@pytest.mark.parametrize(
    ("shell", "line"), full_for(product(SCRIPTS, LINES), *(("zsh", line) for line in [*LINES][1:]))
)
def test_a_shell_is_offered_what_may_follow(shell, line, path_with_u2zoo, tmp_path):
    if not (program := shutil.which(shell)):
        pytest.skip(f"{shell} is not installed")
    words, offered, others = LINES[line]
    quiet = ["--norc"] if shell == "bash" else ["-f"]
    done = subprocess.run(
        [program, *quiet, "-c", SCRIPTS[shell], shell, "u2zoo", *words],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path_with_u2zoo}, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    found = names(done.stdout) if shell == "zsh" else set(done.stdout.split("\n"))
    assert found >= offered, done.stdout
    assert not found & others, done.stdout


def names(answer: str) -> set[str]:
    """Of zsh's `*: :(("onnx":"help" …))`."""
    return set(re.findall(r'(?:^|[\s(])"([^"]+)"', answer))


ASKED = """
import json, sys
from u2net_zoo.cli.commands import main
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize("line", LINES)
def test_completing_loads_no_framework(line, tmp_path):
    words = ["u2zoo", *LINES[line][0]]
    asked = {"_U2ZOO_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    env = {**os.environ, **asked, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, env=env, cwd=tmp_path)
    *offered, loaded = done.stdout.splitlines()
    code, modules = json.loads(loaded)
    assert (code, done.stderr) == (0, "")
    assert set(offered) >= LINES[line][1]
    frameworks = {"torch", "tensorflow", "keras", "onnx", "onnxruntime", "coremltools", "h5py", "skimage", "requests"}
    assert not frameworks & set(modules)


def test_every_name_is_offered():
    assert completion.formats("") == [*FORMATS, "all"]
    assert [name for name, _ in completion.catalog_names("")] == list(load_catalog())
    assert completion.profiles("") == list(KNOWN_PROFILES)
    assert completion.runtimes("") == ["auto", "torch", *FORMATS]
    assert completion.devices("") == ["auto", *DEVICES]
    assert completion.inputs("") == list(INPUTS)


def test_a_format_that_is_named_already_is_not_offered_again():
    assert completion.formats("onnx,tflite,on") == []
    assert completion.formats("onnx,") == [f"onnx,{name}" for name in (*FORMATS, "all") if name != "onnx"]


def test_files_are_offered_beside_names_of_weights(tmp_path, monkeypatch):
    for name in ("u2net_mine.pth", "other.pth", "u2net two words.pth", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "u2net_folder").mkdir()
    monkeypatch.chdir(tmp_path)
    found = [name for name, _ in completion.sources("u2net_")]
    assert found[-2:] == ["u2net_folder/", "u2net_mine.pth"]
    assert "u2net_nano" in found
    assert completion.sources("oth") == []  # the shell offers its own files then
    assert ".hidden" not in [name for name, _ in completion.sources("")]


def test_completion_is_installed_for_the_shell_that_asks(path_with_u2zoo, tmp_path):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    env = {**os.environ, "PATH": path_with_u2zoo, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "--norc", "-c", "u2zoo --install-completion; true"], capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    script = tmp_path / ".bash_completions" / "u2zoo.sh"
    assert "complete -o default -F _u2zoo_completion u2zoo" in script.read_text(encoding="utf-8")
    assert str(script) in (Path(tmp_path) / ".bashrc").read_text(encoding="utf-8")

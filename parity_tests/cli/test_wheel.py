"""What people install: the wheel holds all that the commands need, and the source archive builds the same wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from support.data import ROOT

from u2net_zoo import __version__
from u2net_zoo.apps import APPLICATIONS

pytest.importorskip("hatchling", reason="needs the package hatchling")
PACKAGES = ("u2net_zoo", "converters")
HELP = """
import contextlib, io, json, sys
from u2net_zoo import errors
from u2net_zoo.cli.commands import app, main
import typer
said = {"": errors.install_hint("onnx")}
for arguments in (["formats"], ["list"], *([n, "--help"] for n in typer.main.get_command(app).list_commands(None))):
    sys.argv = ["u2zoo", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    said[" ".join(arguments)] = out.getvalue()
print(json.dumps([errors.__file__, said]))
"""


def built(kind: str, source: Path, folder: Path) -> Path:
    """A wheel or an sdist of the project in `source`."""
    folder.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = (path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def wheel(folder) -> Path:
    return built("wheel", ROOT, folder / "wheel")


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"u2net_zoo-{__version__}.dist-info/METADATA").decode())


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_file_of_the_packages_and_of_the_weights_is_in_the_wheel(wheel):
    listed = subprocess.run(["git", "ls-files", *PACKAGES, "weights"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.splitlines()
    if not names:
        pytest.skip("needs the right to ask git for the files of a clone")
    held = contents(wheel)
    there = {name: re.sub("^weights/", "u2net_zoo/", name) for name in names if (ROOT / name).exists()}
    assert [name for name, place in there.items() if held.get(place) != (ROOT / name).read_bytes()] == []
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(held)
    assert {name.split("/")[0] for name in held} == {*PACKAGES, f"u2net_zoo-{__version__}.dist-info"}


def test_the_source_archive_builds_the_same_wheel(wheel, folder):
    with tarfile.open(built("sdist", ROOT, folder / "sdist")) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    again = built("wheel", source, folder / "again")
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)


def test_the_wheel_says_what_it_is(metadata):
    classifiers = metadata.get_all("Classifier")
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "u2net-zoo",
        __version__,
        "Apache-2.0",
    )
    for system in ("POSIX :: Linux", "MacOS", "Microsoft :: Windows"):
        assert f"Operating System :: {system}" in classifiers
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert not any(name.startswith("License ::") for name in classifiers)  # the expression says it


def test_every_command_works_from_the_wheel_alone(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "80", "U2ZOO_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", HELP], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    place, said = json.loads(done.stdout)
    assert Path(place).is_relative_to(tmp_path)
    helped = {name.removesuffix(" --help"): text for name, text in said.items() if name.endswith("--help")}
    assert set(APPLICATIONS) < set(helped)
    assert all("Usage: " in text for text in helped.values())
    assert said[""] == "pip install onnx onnxruntime scikit-image torch"  # the package itself is on no index
    assert "u2net_nano" in said["list"]


@pytest.mark.full
def test_it_installs_into_an_empty_environment(wheel, tmp_path):
    """With what the package itself needs, and no framework."""
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = [programs / "python", "-m", "pip", "install", "-q", wheel]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
    if "Could not find a version" in installed.stderr or "Retrying" in installed.stderr:
        pytest.skip(f"needs a package index: {installed.stderr.splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for arguments, words in ((["--version"], f"u2zoo {__version__}"), (["formats"], "pip install onnxruntime")):
        done = subprocess.run([programs / "u2zoo", *arguments], cwd=tmp_path, env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert words in done.stdout.decode()

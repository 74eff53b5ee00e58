"""A folder of converted files, and the command that publishes it on a hub of this machine."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.commands import called
from support.hub_server import TOKEN, Hub, Repository

from converters import Options
from converters.publish.uploading import Destination
from u2net_zoo.hub.hub_name import HubName

SIZE = Options(size=(64, 64))


@pytest.fixture(scope="module")
def photograph_file(cat, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photograph") / "cat.png"
    cat.save(path)
    return path


def written(made, folder: Path) -> Path:
    """A folder as `convert` leaves it: ONNX in two precisions, weights."""
    shutil.copy(made.one("onnx", Options(size=(64, 64), precision="fp16")).path, folder / "tiny_half.onnx")
    shutil.copy(made.one("safetensors").path, folder / "tiny.safetensors")
    return folder


def one_file(made, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(made.one("onnx", SIZE).path, folder / "tiny.onnx")
    return folder


@pytest.fixture
def folder_to_publish(made, tmp_path) -> Path:
    return one_file(made, tmp_path / "out")


@pytest.fixture
def publish(hub, home, folder_to_publish, small_file, photograph_file, monkeypatch):
    """Runs the command on the folder, logged in."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("U2ZOO_TIMEOUT", "5")
    said = ("--source", small_file, "--profile", "paper", "--licence", "mit", "--images", photograph_file)

    def run(*arguments, debug=False, said=said, path=folder_to_publish):
        start = ("--debug",) if debug else ()
        return called(*start, "publish", path, "--to", "hf:me/tiny", *said, *arguments)

    return run


@dataclass(frozen=True)
class Published:
    """What the command said, and the repository that it made."""

    said: dict
    repository: Repository
    hub: Hub
    out: Path

    @property
    def files(self) -> dict[str, bytes]:
        return self.repository.files()

    @property
    def card(self) -> str:
        return self.files["README.md"].decode()


@pytest.fixture(scope="module")
def published(made, small_file, photograph_file, tmp_path_factory):
    room = tmp_path_factory.mktemp("published")
    out, hub = written(made, one_file(made, room / "out")), Hub().start()
    said = ("--source", small_file, "--profile", "paper", "--licence", "mit", "--images", photograph_file)
    environment = {**os.environ, "HF_TOKEN": TOKEN, "HF_ENDPOINT": hub.address}
    done = called("publish", out, "--to", "hf:me/tiny", *said, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    yield Published(json.loads(done.stdout), hub.repositories["me/tiny"], hub, out)
    hub.close()


PLACES = {
    "README.md", "config.json", "onnx/model.onnx", "onnx/model_fp16.onnx", "preprocessor_config.json",
    "tiny.safetensors", "u2zoo.json",
}  # fmt: skip


@pytest.fixture
def send_to_hub(hub, home, tmp_path, monkeypatch):
    """Gives two files to the hub, without a proof before."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "w.bin").write_bytes(bytes(5000))

    def run(private: bool = False, revision: str = "main", replace_readme: bool = True, **progress):
        contents = {"README.md": "---\nlicense: mit\n---\n", "w.bin": tmp_path / "w.bin"}
        destination = Destination(HubName("me/tiny", "", revision), private, replace_readme)
        return destination.commit(contents, "a message", **progress)

    return run

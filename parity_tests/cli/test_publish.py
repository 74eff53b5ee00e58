"""`u2zoo publish`: what is proved reaches the hub in one commit, what is not never does."""

import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from PIL import Image
from support import faults
from support.commands import called
from support.data import NANO, ROOT
from support.hub_server import TOKEN, Hub, Repository

from converters import Options
from converters.loading import open_source
from converters.publish.browser_config import configs, obstacle
from converters.publish.licences import permission
from converters.publish.provenance import artifacts_in
from converters.publish.uploading import Destination
from u2net_zoo.arch import U2NETP
from u2net_zoo.errors import InputError, OptionError, OutputError
from u2net_zoo.hub.hub_name import HubName
from u2net_zoo.preprocessing import PROFILES

SIZE = Options(size=(64, 64))


@pytest.fixture(scope="module")
def photograph(cat, tmp_path_factory) -> Path:
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
def out(made, tmp_path) -> Path:
    return one_file(made, tmp_path / "out")


@pytest.fixture
def publish(hub, home, out, small_file, photograph, monkeypatch):
    """Runs the command on the folder, logged in."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("U2ZOO_TIMEOUT", "5")
    said = ("--source", small_file, "--profile", "paper", "--licence", "mit", "--images", photograph)

    def run(*arguments, debug=False, said=said, path=out):
        start = ("--debug",) if debug else ()
        return called(*start, "publish", path, "--to", "hf:me/tiny", *said, *arguments)

    return run


PLACES = {
    "README.md", "config.json", "onnx/model.onnx", "onnx/model_fp16.onnx", "preprocessor_config.json",
    "tiny.safetensors", "u2zoo.json",
}  # fmt: skip


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
def published(made, small_file, photograph, tmp_path_factory):
    room = tmp_path_factory.mktemp("published")
    out, hub = written(made, one_file(made, room / "out")), Hub().start()
    said = ("--source", small_file, "--profile", "paper", "--licence", "mit", "--images", photograph)
    environment = {**os.environ, "HF_TOKEN": TOKEN, "HF_ENDPOINT": hub.address}
    done = called("publish", out, "--to", "hf:me/tiny", *said, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    yield Published(json.loads(done.stdout), hub.repositories["me/tiny"], hub, out)
    hub.close()


def test_all_files_are_one_commit(published):
    said, repository, files, out = published.said, published.repository, published.files, published.out
    assert len(repository.commits) == 2  # the first is the hub's own
    assert said["commit"] == repository.refs["main"]
    assert repository.messages[-1] == "small.safetensors: 3 files, each proved by u2net-zoo 0.1.0"
    assert set(files) == {*PLACES, ".gitattributes"}
    assert files["onnx/model.onnx"] == (out / "tiny.onnx").read_bytes()
    assert files["onnx/model_fp16.onnx"] == (out / "tiny_half.onnx").read_bytes()
    assert {row["path"]: row["bytes"] for row in said["contents"]} == {path: len(files[path]) for path in PLACES}


def test_the_card_says_what_was_measured(published):
    card = published.card
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["pipeline_tag"], front["library_name"]) == (
        "mit",
        "image-segmentation",
        "transformers.js",
    )
    assert {"u2net", "onnx", "safetensors"} <= set(front["tags"])
    proof = json.loads(published.files["u2zoo.json"])
    assert proof == published.said["proof"]
    for place in ("onnx/model.onnx", "tiny.safetensors", "onnx/model_fp16.onnx"):
        found = proof["files"][place]
        assert found["model"]["ok"]
        worst = max(found["model"]["outputs"], key=lambda each: each["max_abs"] / (3 * each["noise"] + 1e-6))
        row = next(line for line in card.splitlines() if line.startswith(f"| `{place}`"))
        assert f"{worst['max_abs']:.1e}" in row
        assert f"{found['pictures'][0]['iou']:.4f}" in row
    assert "mit, as whoever published this states." in card
    assert "minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)" in card
    assert "divided by the largest value of the resized photograph" in card


def test_the_cards_examples_run(published, home, tmp_path, photograph):
    """Its Python, as it stands there, with the repository it names."""
    Image.open(photograph).save(tmp_path / "photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", published.card, re.S)
    assert len(blocks) == 4
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    environment |= {"HF_ENDPOINT": published.hub.address, "U2ZOO_TIMEOUT": "30"}
    program = "\n".join([*blocks, "print(x.shape, tuple(d0.shape))"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "(1, 3, 64, 64) (1, 1, 64, 64)\n"), done.stderr
    assert all(len(block.splitlines()) <= 5 for block in blocks)


def test_what_was_published_is_a_source(published, home, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", published.hub.address)
    checkpoint, located = open_source("hf:me/tiny", None, None)
    assert located.path.read_bytes() == (published.out / "tiny.safetensors").read_bytes()
    assert (located.profile, checkpoint.meta["licence"]) == ("paper", "mit")


def test_a_dry_run_writes_the_same_and_sends_nothing(publish, hub, tmp_path):
    done = publish("--dry-run", "--stage", tmp_path / "staged", "--json")
    assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / "staged").rglob("*") if path.is_file()]
    expected = PLACES - {"onnx/model_fp16.onnx", "tiny.safetensors"}
    assert {path.relative_to(tmp_path / "staged").as_posix() for path in files} == expected
    assert hub.requests == []


def test_a_folder_that_is_there_is_not_written_into(publish, hub, out):
    done = publish("--dry-run", "--stage", out)
    assert (done.returncode, done.stderr.count("\n"), "is there already" in done.stderr) == (2, 1, True)


def test_a_branch_of_ones_own(send, hub):
    hub.add("me/tiny", {"README.md": b"before"})
    send(revision="trial")
    repository = hub.repositories["me/tiny"]
    assert repository.files("main") == {"README.md": b"before"}
    assert set(repository.files("trial")) == {"README.md", "w.bin"}
    assert repository.messages[-1] == "a message"


def test_private_is_a_new_repository_that_is_private(send, hub):
    send(private=True)
    assert hub.repositories["me/tiny"].private
    hub.add("me/tiny", {"README.md": b"public"})
    with pytest.raises(OutputError, match="is public"):
        send(private=True)
    assert hub.repositories["me/tiny"].files() == {"README.md": b"public"}


def test_what_is_not_proved_is_not_published(publish, hub, out):
    faults.planted(out / "tiny.onnx", out / "tiny.onnx", faults.average_pools)
    done = publish()
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: not what small\.safetensors computes: tiny\.onnx \(.*; nothing was published.*\n", done.stderr
    )
    assert {path for method, path, _ in hub.requests if method != "GET"} == set()


def test_what_is_no_artifact_is_named(publish, hub, out):
    (out / "notes.txt").write_text("mine")
    done = publish()
    assert (done.returncode, "notes.txt" in done.stderr, hub.requests) == (2, True, [])


FAULTS = {
    "no such token": (("whoami", 401), "the hub does not know the token; log in with `hf auth login`"),
    "may not create": (("create", 403), "HTTP 403: not allowed; the token in HF_TOKEN must be allowed to"),
    "may not write": (("preupload", 403), "HTTP 403: not allowed"),
    "no place": (("batch", 413), "HTTP 413: refused, you sent Bearer …"),
    "storage refuses": (("put", 403), "HTTP 403: not allowed"),
    "commit refused": (("commit", 403), "HTTP 403: not allowed"),
    "commit conflict": (("commit", 412), "HTTP 412"),
    "too many": (("create", 429), "HTTP 429: too many requests; try again in 7 s"),
    "nonsense": (("commit", "nonsense"), "the hub's answer makes no sense"),
    "silent": (("commit", "silent"), "the hub did not answer in time"),
}


@pytest.fixture
def send(hub, home, tmp_path, monkeypatch):
    """Gives two files to the hub, without a proof before."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "w.bin").write_bytes(bytes(5000))

    def run(private: bool = False, revision: str = "main", **progress):
        contents = {"README.md": "---\nlicense: mit\n---\n", "w.bin": tmp_path / "w.bin"}
        return Destination(HubName("me/tiny", "", revision), private).commit(contents, "a message", **progress)

    return run


@pytest.mark.parametrize("fault", FAULTS)
def test_a_refusal_is_one_error_without_the_token_and_no_commit(send, hub, fault, capfd):
    hub.fault, message = FAULTS[fault]
    hub.headers = {"Retry-After": "7"}
    with pytest.raises(OutputError) as caught:
        send()
    assert str(caught.value).startswith(f"hf:me/tiny: {message}")
    shown = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert "Traceback" in shown
    assert TOKEN not in shown
    assert "secretkeyofthefile" not in "".join(traceback.format_exception(caught.value))
    repository = hub.repositories.get("me/tiny")
    assert repository is None or list(repository.files()) == [".gitattributes"]


def test_the_command_says_a_refusal_without_the_token(publish, hub, out):
    hub.fault = ("commit", 403)
    before = sorted(out.rglob("*"))
    done = publish("--json", debug=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: hf:me/tiny: HTTP 403: not allowed; ")
    assert "Traceback" in done.stderr
    assert TOKEN not in done.stderr
    assert sorted(out.rglob("*")) == before
    assert list(hub.repositories["me/tiny"].files()) == [".gitattributes"]


def test_sending_is_watched_and_goes_over_http(send, hub):
    told = []
    made = send(progress=lambda path, sent: told.append((path, sent)))
    assert (made.commit, told[-1]) == (hub.repositories["me/tiny"].refs["main"], ("w.bin", 5000))
    assert [sent for method, _, sent in hub.requests if method == "PUT"] == [None]  # no token for the storage


def test_a_token_that_may_only_read(publish, hub):
    hub.role = "read"
    done = publish()
    assert (done.returncode, "the token may only read" in done.stderr) == (2, True)
    assert hub.asked() == ["/api/whoami-v2"]  # said before minutes of proving


def test_nobody_is_logged_in(publish, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = publish()
    assert (done.returncode, "nobody is logged in: log in with `hf auth login`" in done.stderr) == (2, True)


def test_the_licence_is_asked_for_and_not_guessed(publish, hub, small_file, photograph):
    said = ("--source", small_file, "--profile", "paper", "--images", photograph)
    done = publish(said=said)
    assert (done.returncode, hub.requests) == (2, [])
    assert done.stderr.startswith("error: the licence of the weights is not known; if you may publish them, say under")


@pytest.mark.parametrize(("recorded", "said", "result"), [
    ("Apache-2.0", None, "apache-2.0"),
    ("MIT", "mit", "mit"),
    (None, "mit", "mit"),
    ("unconfirmed", "other: Bria RMBG 1.4", "other"),
    ("cc-by-nc-4.0", "cc-by-nc-4.0", "cc-by-nc-4.0"),
])  # fmt: skip
def test_licences_that_allow_it_or_are_stated(recorded, said, result):
    assert permission(recorded, said).identifier == result


@pytest.mark.parametrize(("recorded", "said"), [
    (None, None),
    ("unconfirmed", None),
    ("cc-by-nc-4.0", None),
    ("Apache-2.0 for the code; the terms of the weights are disputed", None),
    ("Apache-2.0", "mit"),
    (None, "free"),
    (None, "other:"),
])  # fmt: skip
def test_licences_that_are_asked_about(recorded, said):
    with pytest.raises(OptionError, match="licence"):
        permission(recorded, said)


def test_another_licence_has_a_name():
    assert permission(None, "other: Bria RMBG 1.4").front_matter() == {
        "license": "other",
        "license_name": "bria-rmbg-1.4",
    }


def test_the_weights_are_found_by_what_the_files_say(nano_made, photograph, tmp_path, home):
    shutil.copy(nano_made.one("onnx").path, tmp_path / "nano.onnx")
    done = called(
        "publish", tmp_path / "nano.onnx", "--to", "hf:me/nano", "--images", photograph, "--dry-run", "--json"
    )
    assert done.returncode == 0, done.stderr
    weights = json.loads(done.stdout)["proof"]["weights"]
    assert (weights["name"], weights["licence"], weights["profile"]) == ("u2net_nano", "apache-2.0", "paper")


def test_files_that_do_not_say_it_need_a_source(publish, out, photograph):
    done = publish(said=("--images", photograph))
    assert done.returncode == 2
    assert "they do not name weights of the catalog or the hub; say it: --source WEIGHTS" in done.stderr


def test_the_profile_is_asked_for(publish, small_file):
    done = publish(said=("--source", small_file, "--licence", "mit"))
    assert (done.returncode, "name it: --profile paper, " in done.stderr) == (2, True)


def test_a_text_file_goes_with_its_artifact(tmp_path):
    shutil.copy(NANO, tmp_path / "n.safetensors")
    package = tmp_path / "n.mlpackage"
    package.mkdir()
    (package / "Manifest.json").write_text("{}")
    (tmp_path / "n.swift").write_text("// n.mlpackage")
    assert artifacts_in([tmp_path]) == {
        package: (tmp_path / "n.swift",),
        tmp_path / "n.safetensors": (),
    }
    (tmp_path / "o.swift").write_text("")
    with pytest.raises(InputError, match=r"o\.swift"):
        artifacts_in([tmp_path])


def test_transformers_js_is_told_how_to_prepare():
    made = configs(U2NETP, PROFILES["paper"], (320, 256), ["int8", "fp16"])
    assert made["config.json"]["model_type"] == "isnet"
    assert made["config.json"]["transformers.js_config"] == {"dtype": "fp16"}
    processor = made["preprocessor_config.json"]
    assert processor["size"] == {"width": 256, "height": 320}
    assert (processor["image_mean"], processor["image_std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_profiles_that_transformers_js_cannot_follow():
    unable = {name for name, profile in PROFILES.items() if obstacle(U2NETP, profile)}
    assert unable == {"portrait", "portrait-demo", "isnet-anime"}


@pytest.mark.parametrize("to", ["me/tiny", "hf:me", "hf:me/tiny/file.onnx", "u2netp"])
def test_a_destination_is_a_repository(to, tmp_path):
    done = called("publish", tmp_path, "--to", to)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)

"""`hf:OWNER/NAME` as a source: the real library against a hub on this machine."""

import contextlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import called, left
from support.data import NANO, ROOT
from support.networks import hard_checkpoint
from support.training import SHALLOW

from converters import FORMATS, convert
from converters.loading import name_of, open_source, read_source
from u2net_zoo.cli.runtime_options import own_profile
from u2net_zoo.errors import DownloadError, InputError
from u2net_zoo.hub.commit import folder_of
from u2net_zoo.hub.file_choice import ORDER
from u2net_zoo.hub.hub_files import fetch_from_hub
from u2net_zoo.hub.hub_name import HubName, hub_name
from u2net_zoo.sources import known_profile, profile_of
from u2net_zoo.train.start import with_channels

pytestmark = pytest.mark.usefixtures("home")

WEIGHTS = NANO.read_bytes()
OTHER = bytes(range(256)) * 20


def test_a_repository_is_a_source_of_every_command(hub, small_file, tmp_path, cat):
    hub.add("me/tiny", {"README.md": b"# tiny", "w.safetensors": small_file.read_bytes()})
    cat.save(tmp_path / "p.png")
    out, weights = tmp_path / "out", tmp_path / "out" / "w.safetensors"
    for command in (
        ("convert", "hf:me/tiny", "--to", "safetensors", "--size", "64", "--out", out),
        ("info", "hf:me/tiny/w.safetensors"),
        ("mask", tmp_path / "p.png", "-o", tmp_path / "m.png", "--model", "hf:me/tiny"),
        ("verify", weights, "--against", "hf:me/tiny@main", "--images", tmp_path / "p.png", "--size", "64"),
    ):
        done = called(*command, "--json")
        assert done.returncode == 0, done.stderr
    assert sum("/resolve/" in path for path in hub.asked()) == 2  # its start, to see what it is; the file, once


def test_what_is_converted_says_where_it_is_from(hub):
    held = hub.add("me/nano", {"model.safetensors": WEIGHTS}, card={"license": "other", "license_name": "Ours 1.0"})
    checkpoint, located = open_source("hf:me/nano", None, None)
    assert checkpoint.meta["source"] == f"hf:me/nano/model.safetensors@{held.refs['main']}"
    assert (checkpoint.meta["licence"], name_of(located, checkpoint)) == ("Ours 1.0", "nano")  # `model` says nothing


def test_a_card_tells_how_photographs_are_prepared(hub):
    hub.add("me/faces", {"w.safetensors": WEIGHTS}, card={"u2zoo": {"profile": "portrait"}})
    hub.add("me/odd", {"w.safetensors": WEIGHTS}, card={"u2zoo": {"profile": "of another kind"}})
    assert [known_profile(f"hf:me/{name}") for name in ("faces", "odd")] == ["portrait", None]
    assert [profile_of(f"hf:me/{name}", "u2net_nano") for name in ("faces", "odd")] == ["portrait", "paper"]


def test_the_second_time_nobody_is_asked_and_fetch_asks_anew(hub, home):
    held = hub.add("me/nano", {"w.pth": OTHER})
    first = fetch_from_hub(hub_name("hf:me/nano"))
    asked = len(hub.requests)
    new = held.commit({"w.pth": OTHER + b"2"})
    again = fetch_from_hub(hub_name("hf:me/nano"))
    assert (again.cached, again.name, len(hub.requests)) == (True, first.name, asked)
    done = called("fetch", "hf:me/nano", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["files"]
    assert (row["cached"], row["name"], row["verified"]) == (False, f"hf:me/nano/w.pth@{new}", True)
    assert fetch_from_hub(hub_name("hf:me/nano")).path.read_bytes() == OTHER + b"2"


def test_a_commit_is_pinned(hub):
    held = hub.add("me/nano", {"w.pth": OTHER})
    old = held.refs["main"]
    held.commit({"w.pth": b"new" * 500})
    assert fetch_from_hub(hub_name(f"hf:me/nano@{old}")).path.read_bytes() == OTHER


def test_offline_uses_what_is_there(hub, home, monkeypatch):
    hub.add("me/nano", {"w.pth": OTHER})
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"hf:me/nano: not in the cache .*U2ZOO_OFFLINE"):
        fetch_from_hub(hub_name("hf:me/nano"))
    assert (hub.requests, home.exists()) == ([], False)
    monkeypatch.delenv("U2ZOO_OFFLINE")
    fetch_from_hub(hub_name("hf:me/nano"))
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    found = fetch_from_hub(hub_name("hf:me/nano"))
    assert found.cached
    assert fetch_from_hub(hub_name("hf:me/nano"), refresh=True) == found
    found.path.write_bytes(bytes(len(OTHER)))
    with pytest.raises(DownloadError, match="U2ZOO_OFFLINE"):
        fetch_from_hub(hub_name("hf:me/nano"))


class TestWhichFile:
    def chosen(self, hub, files, name="hf:me/r") -> str:
        hub.add("me/r", files)
        return fetch_from_hub(hub_name(name)).name.file

    def test_safetensors_before_pth_before_onnx(self, hub):
        assert self.chosen(hub, {"b.onnx": OTHER, "a.pth": OTHER, "z.safetensors": WEIGHTS}) == "z.safetensors"
        assert self.chosen(hub, {"b.onnx": OTHER, "a.pth": OTHER}, "hf:me/r@main") == "z.safetensors"  # as it was
        hub.add("me/s", {"b.onnx": OTHER, "a.pth": OTHER})
        assert fetch_from_hub(hub_name("hf:me/s")).name.file == "a.pth"

    def test_safetensors_of_another_network_are_passed_over(self, hub):
        from safetensors.numpy import save

        other = save({"layer.weight": np.zeros((300, 30), np.float32)})
        assert self.chosen(hub, {"encoder.safetensors": other, "u2net.pth": OTHER}) == "u2net.pth"
        hub.add("me/s", {"encoder.safetensors": other})
        with pytest.raises(InputError, match=r"hf:me/s: no U²-Net: encoder\.safetensors hold other tensors"):
            fetch_from_hub(hub_name("hf:me/s"))

    def test_several_are_listed(self, hub, home):
        hub.add("me/r", {"a.pth": OTHER, "b.pth": OTHER + b"1"})
        with pytest.raises(InputError, match=r"2 models; name one of hf:me/r/a\.pth, hf:me/r/b\.pth$"):
            fetch_from_hub(hub_name("hf:me/r"))
        assert left(home) == []
        assert fetch_from_hub(hub_name("hf:me/r/b.pth")).path.read_bytes() == OTHER + b"1"

    def test_other_number_formats_of_a_model_are_the_same_model(self, hub):
        files = {f"onnx/model{kind}.onnx": OTHER + kind.encode() for kind in ("", "_fp16", "_quantized")}
        assert self.chosen(hub, files) == "onnx/model.onnx"

    def test_what_belongs_together_comes_together(self, hub):
        files = {"x/m.xml": b"<net/>", "x/m.bin": OTHER, "b.mlpackage/Manifest.json": b"{}", "b.mlpackage/D/w": OTHER}
        hub.add("me/r", files)
        found = fetch_from_hub(hub_name("hf:me/r/x/m.xml"))
        assert (found.path.with_name("m.bin").read_bytes(), found.bytes) == (OTHER, 6 + len(OTHER))
        found = fetch_from_hub(hub_name("hf:me/r/b.mlpackage"))
        assert sorted(p.name for p in found.path.rglob("*") if p.is_file()) == ["Manifest.json", "w"]

    def test_an_asset_of_core_ai_is_one_model(self, hub):
        hub.add(
            "me/r", {"c.aimodel/main.mlirb": OTHER, "c.aimodel/main.hash": b"1" * 32, "c.aimodel/metadata.json": b"{}"}
        )
        found = fetch_from_hub(hub_name("hf:me/r"))
        assert {p.name for p in found.path.iterdir()} == {"main.mlirb", "main.hash", "metadata.json"}

    def test_no_such_file_and_no_model(self, hub):
        hub.add("me/r", {"README.md": b"#", "a.pth": OTHER})
        with pytest.raises(InputError, match=r"hf:me/r/b\.pth: the repository has no such file; it has a\.pth$"):
            fetch_from_hub(hub_name("hf:me/r/b.pth"))
        hub.add("me/s", {"README.md": b"#"})
        with pytest.raises(InputError, match=r"no file of a kind that can be read; it has README\.md$"):
            fetch_from_hub(hub_name("hf:me/s"))

    def test_every_format_has_its_place_in_the_order(self):
        kinds = [kind for kinds in ORDER for kind in kinds]
        endings = {"_savedmodel": "saved_model.pb", "_openvino": ".xml", "_ncnn": ".param", "_web": ".onnx"}
        for fmt in FORMATS.values():
            assert endings.get(fmt.suffix, fmt.suffix) in kinds, fmt.name


def test_two_processes_fetch_once(hub):
    hub.add("me/nano", {"w.pth": OTHER * 50})
    command = [sys.executable, "-m", "u2net_zoo", "fetch", "hf:me/nano/w.pth", "--json"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    cached = [json.loads(process.communicate(timeout=60)[0])["files"][0]["cached"] for process in both]
    assert sorted(cached) == [False, True]
    assert sum("/resolve/" in path for path in hub.asked()) == 1


@pytest.mark.parametrize(("text", "name"), [
    ("hf:o/n", HubName("o/n")),
    ("hf://o/n", HubName("o/n")),
    ("hf:o/n@v1", HubName("o/n", "", "v1")),
    ("hf:o/n/f.pth@v1", HubName("o/n", "f.pth", "v1")),
    ("hf:o/n@v1/a/f.pth", HubName("o/n", "a/f.pth", "v1")),
    ("hf:o/n@refs/pr/3/f.pth", HubName("o/n", "f.pth", "refs/pr/3")),
    ("hf:o/n@main/a@b.pth", HubName("o/n", "a@b.pth")),
    ("hf:o/n@a%2Fb", HubName("o/n", "", "a/b")),
    ("hf:o/n/f.pth@a%2540b", HubName("o/n", "f.pth", "a%40b")),
    ("hf:o/n/f.pth@a%40b", HubName("o/n", "f.pth", "a@b")),
    ("u2netp", None),
])  # fmt: skip
def test_names(text, name):
    assert hub_name(text) == name
    assert name is None or hub_name(str(name)) == name


@pytest.mark.parametrize("text", ["hf:", "hf:o", "hf:o/..", "hf:o/n/../x", "hf:o/n@..", "hf:o/n@a b", "hf:../n"])
def test_names_that_are_none(text):
    with pytest.raises(InputError):
        hub_name(text)


@pytest.mark.parametrize("repo", ["a--b/c", "a/b--c", "a..b/c", "a-/b", "a/b-", "a/b.", "a/b.git", "-a/b", "a/.b"])
def test_names_that_the_hub_has_for_no_repository_are_none(repo):
    """`a--b/c` and `a/b--c` would share a folder of the cache, `a/b` and `a/b.` one on Windows."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    with pytest.raises(HFValidationError):
        validate_repo_id(repo)
    for text in (f"hf:{repo}", f"hf:{repo}/f.pth", f"hf:{repo}@v1"):
        with pytest.raises(InputError, match=r"no name of the Hugging Face Hub; .* no -- or \.\. in OWNER and NAME"):
            hub_name(text)


def test_every_repository_has_a_folder_of_its_own_in_the_cache():
    words = ["".join(letters) for n in (1, 2, 3, 4) for letters in itertools.product("a-.", repeat=n)]
    repos = []
    for pair in itertools.product(words, repeat=2):
        with contextlib.suppress(InputError):
            repos.append(hub_name(f"hf:{'/'.join(pair)}").repo)
    assert len(repos) > 100
    assert len({folder_of(repo) for repo in repos}) == len(repos)


def test_the_weights_are_the_ones_that_were_put_there(hub):
    hub.add("me/nano", {"nano.safetensors": WEIGHTS})
    found, expected = (read_source(path) for path in (fetch_from_hub(hub_name("hf:me/nano")).path, NANO))
    assert all(np.array_equal(found.state[key], value) for key, value in expected.state.items())


def test_weights_of_the_hub_name_their_classes_to_the_commands(hub, street, taught_classes, tmp_path):
    hub.add("me/street", {"w.safetensors": taught_classes.read_bytes()})
    done = called("clothes", street / "images" / "0.png", "--model", "hf:me/street", "-o", tmp_path / "map.png")
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in tmp_path.glob("map*.png")} == {"map", "map_full", "map_lower", "map_upper"}
    refused = called("clothes", tmp_path / "map_upper.png", "--model", "hf:me/street", "-o", tmp_path / "map.png")
    assert refused.returncode == 2
    assert "map_upper.png: would replace a file that is read" in refused.stderr
    for folder in ("images", "maps"):
        (tmp_path / folder).mkdir()
        shutil.copy(street / folder / "0.png", tmp_path / folder)
    folders = ("--images", tmp_path / "images", "--masks", tmp_path / "maps")
    done = called("eval", "hf:me/street", *folders, "--json")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["class_iou"]) == ["background", "upper", "lower", "full"]


def test_weights_of_the_hub_name_their_profile_unless_a_card_does(hub, tmp_path):
    checkpoint = hard_checkpoint(with_channels(SHALLOW, 1, 1)).with_meta(profile="grey")
    convert(checkpoint, ["safetensors"], tmp_path)
    weights = next(tmp_path.glob("*.safetensors")).read_bytes()
    hub.add("me/xray", {"w.safetensors": weights})
    hub.add("me/drawn", {"w.safetensors": weights}, card={"u2zoo": {"profile": "portrait"}})
    assert own_profile(Path("hf:me/xray"), "u2net") == "grey"
    assert own_profile(Path("hf:me/drawn"), "u2net") == "portrait"

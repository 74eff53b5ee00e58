"""`u2zoo publish`: what is proved reaches the hub in one commit, with a card that says what was measured."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from support.commands import called
from support.data import NANO, ROOT
from support.publishing import PLACES

from converters.loading import format_of, open_source
from converters.publish.browser_config import configs, obstacle
from converters.publish.provenance import artifacts_in
from converters.publish.proving import ProvedFile
from converters.publish.repository_layout import _expanded
from u2net_zoo.arch import U2NETP
from u2net_zoo.errors import InputError, OutputError
from u2net_zoo.preprocessing import PROFILES


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


def test_the_cards_examples_run(published, home, tmp_path, photograph_file):
    """Its Python, as it stands there, with the repository it names."""
    Image.open(photograph_file).save(tmp_path / "photo.jpg")
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


@pytest.mark.parametrize("branch", ["trial", "feature/x"])
def test_a_branch_of_ones_own(send_to_hub, hub, branch):
    hub.add("me/tiny", {"README.md": b"before"})
    send_to_hub(revision=branch)
    repository = hub.repositories["me/tiny"]
    assert repository.files("main") == {"README.md": b"before"}
    assert set(repository.files(branch)) == {"README.md", "w.bin"}
    assert repository.messages[-1] == "a message"


def test_private_is_a_new_repository_that_is_private(send_to_hub, hub):
    send_to_hub(private=True)
    assert hub.repositories["me/tiny"].private
    hub.add("me/tiny", {"README.md": b"public"})
    with pytest.raises(OutputError, match="is public"):
        send_to_hub(private=True)
    assert hub.repositories["me/tiny"].files() == {"README.md": b"public"}


def test_sending_is_watched_and_goes_over_http(send_to_hub, hub):
    told = []
    made = send_to_hub(progress=lambda path, sent: told.append((path, sent)))
    assert (made.commit, told[-1]) == (hub.repositories["me/tiny"].refs["main"], ("w.bin", 5000))
    assert [sent for method, _, sent in hub.requests if method == "PUT"] == [None]  # no token for the storage


def test_the_weights_are_found_by_what_the_files_say(nano_made, photograph_file, tmp_path, home):
    shutil.copy(nano_made.one("onnx").path, tmp_path / "nano.onnx")
    done = called(
        "publish", tmp_path / "nano.onnx", "--to", "hf:me/nano", "--images", photograph_file, "--dry-run", "--json"
    )
    assert done.returncode == 0, done.stderr
    weights = json.loads(done.stdout)["proof"]["weights"]
    assert (weights["name"], weights["licence"], weights["profile"]) == ("u2net_nano", "apache-2.0", "paper")


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


def package_with(tmp_path: Path, name: str) -> Path:
    package = tmp_path / "out" / "n.mlpackage"
    (package / "Data" / name).parent.mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    return package / "Data" / name


@pytest.mark.parametrize("name", [".DS_Store", ".git/config"])
def test_hidden_files_in_a_package_stay_here(tmp_path, name):
    stray = package_with(tmp_path, name)
    stray.write_text("secret")
    package = tmp_path / "out" / "n.mlpackage"
    fmt = format_of(package)
    assert fmt.files(package) == [package / "Manifest.json"]
    assert list(_expanded(ProvedFile(package, fmt, None, ""), "n")) == ["n/Manifest.json"]


@pytest.mark.parametrize("target", ["secret.txt", "secrets"])
def test_a_link_is_refused(tmp_path, target):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secrets").mkdir()
    inside = package_with(tmp_path, "link")
    inside.symlink_to(tmp_path / target)
    for paths in ([tmp_path / "out"], [tmp_path / "out" / "n.mlpackage"]):
        with pytest.raises(InputError, match=r"link: a link, to .*secret.*, is not published"):
            artifacts_in(paths)
    inside.unlink()
    (tmp_path / "out" / "n.swift").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match=r"n\.swift: a link"):
        artifacts_in([tmp_path / "out"])


def test_a_link_to_a_file_is_published_where_it_is_named(tmp_path):
    (tmp_path / "n.safetensors").symlink_to(NANO)
    with pytest.raises(InputError, match="a link"):
        artifacts_in([tmp_path])
    assert list(artifacts_in([tmp_path / "n.safetensors"])) == [tmp_path / "n.safetensors"]


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

"""`u2zoo publish`: what is not proved, not allowed or refused by the hub leaves nothing and shows no token."""

import re
import traceback

import pytest
from support import faults
from support.commands import called
from support.hub_server import TOKEN

from converters.publish.licences import permission
from u2net_zoo.cli.publish import _destination
from u2net_zoo.errors import OptionError, OutputError
from u2net_zoo.hub.hub_name import HubName


def test_what_is_not_proved_is_not_published(publish, hub, folder_to_publish):
    out = folder_to_publish
    faults.planted(out / "tiny.onnx", out / "tiny.onnx", faults.average_pools)
    done = publish()
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: not what small\.safetensors computes: tiny\.onnx \(.*; nothing was published.*\n", done.stderr
    )
    assert {path for method, path, _ in hub.requests if method != "GET"} == set()


def test_what_is_no_artifact_is_named(publish, hub, folder_to_publish):
    out = folder_to_publish
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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_refusal_is_one_error_without_the_token_and_no_commit(send_to_hub, hub, fault, capfd):
    hub.fault, message = FAULTS[fault]
    hub.headers = {"Retry-After": "7"}
    with pytest.raises(OutputError) as caught:
        send_to_hub()
    assert str(caught.value).startswith(f"hf:me/tiny: {message}")
    shown = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert "Traceback" in shown
    assert TOKEN not in shown
    assert "secretkeyofthefile" not in "".join(traceback.format_exception(caught.value))
    repository = hub.repositories.get("me/tiny")
    assert repository is None or list(repository.files()) == [".gitattributes"]


def test_the_command_says_a_refusal_without_the_token(publish, hub, folder_to_publish):
    out = folder_to_publish
    hub.fault = ("commit", 403)
    before = sorted(out.rglob("*"))
    done = publish("--json", debug=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: hf:me/tiny: HTTP 403: not allowed; ")
    assert "Traceback" in done.stderr
    assert TOKEN not in done.stderr
    assert sorted(out.rglob("*")) == before
    assert list(hub.repositories["me/tiny"].files()) == [".gitattributes"]


def test_a_token_that_may_only_read(publish, hub):
    hub.role = "read"
    done = publish()
    assert (done.returncode, "the token may only read" in done.stderr) == (2, True)
    assert hub.asked() == ["/api/whoami-v2"]  # said before minutes of proving


def test_nobody_is_logged_in(publish, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = publish()
    assert (done.returncode, "nobody is logged in: log in with `hf auth login`" in done.stderr) == (2, True)


def test_the_licence_is_asked_for_and_not_guessed(publish, hub, small_file, photograph_file):
    said = ("--source", small_file, "--profile", "paper", "--images", photograph_file)
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


def test_files_that_do_not_say_it_need_a_source(publish, photograph_file):
    done = publish(said=("--images", photograph_file))
    assert done.returncode == 2
    assert "they do not name weights of the catalog or the hub; say it: --source WEIGHTS" in done.stderr


def test_the_profile_is_asked_for(publish, small_file):
    done = publish(said=("--source", small_file, "--licence", "mit"))
    assert (done.returncode, "name it: --profile paper, " in done.stderr) == (2, True)


@pytest.mark.parametrize("to", ["me/tiny", "hf:me", "hf:me/tiny/file.onnx", "u2netp"])
def test_a_destination_is_a_repository(to, tmp_path):
    done = called("publish", tmp_path, "--to", to)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("branch", ["main", "new"])
def test_a_readme_of_somebodys_own_is_not_replaced(send_to_hub, hub, branch):
    held = hub.add("me/tiny", {"README.md": b"---\nlicense: mit\n---\n# mine"})
    with pytest.raises(OutputError, match=r"README\.md there was not written by `u2zoo publish`; --replace-readme"):
        send_to_hub(revision=branch, replace_readme=False)
    assert (len(held.commits), list(held.refs)) == (1, ["main"])
    send_to_hub(revision=branch, replace_readme=True)
    assert b"mine" not in held.files(branch)["README.md"]


@pytest.mark.parametrize("files", [{"w.bin": b"1"}, {"README.md": b"---\nu2zoo: {version: 0.1.0}\n---\n# a card"}])
def test_a_card_of_an_earlier_publication_is_replaced(send_to_hub, hub, files):
    held = hub.add("me/tiny", {**files, "old.onnx": b"1"})
    send_to_hub(replace_readme=False)
    assert (b"a card" in held.files()["README.md"], "old.onnx" in held.files()) == (False, True)


@pytest.mark.parametrize("revision", ["", "@feature%2Fx"])
def test_a_branch_with_a_slash_is_that_branch(revision):
    named = _destination(f"hf:me/tiny{revision}", "feature/x")
    assert (named, str(named)) == (HubName("me/tiny", "", "feature/x"), "hf:me/tiny@feature%2Fx")


@pytest.mark.parametrize("revision", ["a b", "../x", "x/", "a@{b", "-x"])
def test_a_branch_that_is_none(revision, tmp_path):
    done = called("publish", tmp_path, "--to", "hf:me/tiny", f"--revision={revision}")
    assert (done.returncode, "is no revision; allowed" in done.stderr) == (2, True)


def test_a_folder_that_is_there_is_not_written_into(publish, hub, folder_to_publish):
    out = folder_to_publish
    done = publish("--dry-run", "--stage", out)
    assert (done.returncode, done.stderr.count("\n"), "is there already" in done.stderr) == (2, 1, True)

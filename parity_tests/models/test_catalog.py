"""The catalog against the truth: networks, sizes, profiles; its errors; its names wherever a source is named."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from math import prod
from pathlib import Path

import pytest
from support.commands import called
from support.data import DATA, NANO, ROOT, needs
from support.photographs import photograph

from converters import convert
from converters.options import Options
from converters.planning.targets import at_the_size_of
from u2net_zoo import Session, catalog, load_torch
from u2net_zoo.catalog import bundled, load_catalog
from u2net_zoo.downloads import fetch
from u2net_zoo.errors import CatalogError, DownloadError, InputError, UnknownNameError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.sources import locate

ENTRIES = load_catalog()
NAMES = [
    "u2net_nano", "u2net", "u2netp", "u2net_human_seg", "u2net_portrait", "u2net_cloth_seg", "silueta",
    "isnet-general-use", "isnet-anime", "skyseg",
]  # fmt: skip


def test_every_published_network_is_there():
    assert list(ENTRIES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_architecture(name):
    entry = ENTRIES[name]
    if entry.arch() is None:  # it is told from the shapes in the file
        assert entry.parameters is None
        return
    assert entry.parameters in (None, entry.arch().parameters())
    assert (entry.arch().final == "none") == (entry.output == "classes")


def expected_bytes(name: str, suffix: str) -> int | None:
    """Bytes of the tensors: .pth holds them all, ONNX folds batch norm, the ncnn file is folded and in fp16."""
    arch = ENTRIES[name].arch()
    if arch is None:
        return None
    if suffix == ".pth":
        return 4 * sum(prod(shape) for shape in arch.state_shapes().values())
    return {".onnx": 4, ".bin": 2}.get(suffix, 0) * arch.fold().parameters()


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_those_of_the_tensors(name):
    for file in (file for source in ENTRIES[name].sources for file in source.files):
        tensors = expected_bytes(name, Path(file.file).suffix)
        if tensors and file.bytes:
            # A little less where a file answers d0 alone: the other heads are not in it.
            assert tensors * 0.999 < file.bytes < tensors * 1.05, file


def test_every_profile_exists_and_is_documented():
    assert {entry.profile for entry in ENTRIES.values()} <= set(PROFILES)
    assert all(profile.source for profile in PROFILES.values())


def test_class_names_have_colours():
    for entry in ENTRIES.values():
        assert len(entry.classes) == len(PROFILES[entry.profile].palette)


def test_a_file_without_a_published_hash_says_so():
    files = [file for entry in ENTRIES.values() for source in entry.sources for file in source.files]
    assert all(bool(file.sha256) == (file.bytes is not None) == ("unconfirmed" not in file.note) for file in files)
    assert [f.file for f in files if not f.sha256] == ["u2net_human_seg.pth", "u2net_portrait.pth"]


def run_script(*arguments, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "add_weights.py"), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **kwargs}
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_the_catalog_holds_against_the_bundled_file(tmp_path):
    """And a file of that name with other bytes, or other bits, is told from it."""
    done = run_script("--check", U2ZOO_HOME=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1].split(", ")[:2]) == (0, ["10 entries", "1 files measured"])
    for number, (content, problem) in enumerate({
        NANO.read_bytes() + b"?": "bytes, the catalog says ",
        NANO.read_bytes()[:-1] + b"?": "sha256 .* the catalog says ",
    }.items()):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / NANO.name).write_bytes(content)
        done = run_script("--check", folder, U2ZOO_HOME=tmp_path)
        assert done.returncode == 1
        assert re.search(rf"^u2net_nano: {folder}.*{problem}", done.stdout)


def test_the_catalog_holds_against_the_files_that_are_here(tmp_path):
    done = run_script("--check", needs(DATA / "weights" / "skyseg_u2netp_fp16.ncnn.bin").parent, U2ZOO_HOME=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("10 entries, 4 files measured, ")
    # The authors' u2netp.pth lies here folded and rounded, under the same name: the check must see the difference.
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:-1]] == ["u2netp"]
    assert "4696951 bytes, the catalog says 4683258" in done.stdout


def test_a_row_is_measured_not_typed(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    done = run_script("--name", "mine", "--file", tmp_path / "w.pth", "--url", "https://example.org/w.pth")
    (row,) = tomllib.loads(done.stdout)["mine"]["sources"]
    assert (row["bytes"], row["file"]) == (7, "w.pth")
    assert row["sha256"] == hashlib.sha256(b"weights").hexdigest()
    done = run_script("--name", "mine", "--kind", "bundled", "--file", tmp_path / "w.pth")
    assert tomllib.loads(done.stdout)["mine"]["sources"][0].get("url") is None
    assert run_script("--kind", "bundled").returncode == 2


GOOD = """[w]
purpose = "testing"
architecture = "u2netp"
profile = "paper"
output = "mask"
licence = "none"
training = "none"
citation = "none"
[[w.sources]]
kind = "http"
url = "https://example.org/w.pth"
file = "w.pth"
bytes = 5
"""
WRONG = {
    "no TOML": ("[w", "the catalog is no TOML"),
    "no table": ("w = 1", "w: expected a table, got 1"),
    "missing": (GOOD.replace('licence = "none"\n', ""), "w.licence: missing"),
    "unknown": (GOOD.replace("purpose", "purpos"), "w.purpos: unknown field; fields: name, purpose"),
    "empty": (GOOD.replace('"testing"', '""'), "w.purpose: ''"),
    "choice": (GOOD.replace('"mask"', '"msk"'), "w.output: 'msk' is none of mask, logits, classes, drawing"),
    "type": (GOOD.replace("= 5", '= "5"'), r"w.sources\[0\].bytes: expected int, got '5'"),
    "bool": (GOOD.replace("= 5", "= true"), r"w.sources\[0\].bytes: expected int, got True"),
    "too small": (GOOD.replace("= 5", "= 0"), r"w.sources\[0\].bytes: expected at least 1, got 0"),
    "hash": (GOOD + 'sha256 = "abc"', r"w.sources\[0\].sha256: 'abc' does not look like"),
    "path": (GOOD.replace('"w.pth"', '"../w.pth"'), r"w.sources\[0\].file: '../w.pth' does not look like"),
    "scheme": (GOOD.replace("https:", "file:"), r"w.sources\[0\].url: 'file://example.org/w.pth' does not look"),
    "no sources": (GOOD[: GOOD.index("[[")] + "sources = []", "w.sources: expected an array with something in it"),
    "no address": (
        GOOD.replace('url = "https://example.org/w.pth"\n', ""),
        "w.sources: w.pth: a bundled file has no url",
    ),
    "Drive without id": (GOOD.replace('"http"', '"gdrive"'), "w.sources: .*: a Google Drive address has an id="),
    "class names": (GOOD.replace('output = "mask"', 'output = "classes"'), "w.classes: 0 names for 1 channels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_entry_and_field(case, tmp_path):
    text, message = WRONG[case]
    (tmp_path / "catalog.toml").write_text(text)
    with pytest.raises(CatalogError, match=message):
        load_catalog(tmp_path / "catalog.toml")


def test_a_good_catalog_of_ones_own(tmp_path):
    (tmp_path / "catalog.toml").write_text(GOOD)
    assert load_catalog(tmp_path / "catalog.toml")["w"].sources[0].bytes == 5
    with pytest.raises(CatalogError, match="cannot be read: No such file"):
        load_catalog(tmp_path / "none.toml")


def test_an_installed_package_has_its_catalog(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs the package hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from u2net_zoo import catalog; print(catalog.__file__); print(*catalog.load_catalog())"
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(tmp_path / "site" / "u2net_zoo" / "catalog.py"), " ".join(NAMES)]


def test_help_loads_neither_numpy_nor_the_web():
    code = (
        "import sys, u2net_zoo.cli.commands; import u2net_zoo.cli.fetch, u2net_zoo.cli.list; "
        "print([m for m in ('numpy', 'requests', 'urllib3', 'pooch', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_list_shows_every_entry(tmp_path):
    env = {**os.environ, "U2ZOO_HOME": str(tmp_path), "COLUMNS": "200"}
    table = called("list", env=env).stdout
    assert all(name in table for name in NAMES)
    rows = json.loads(called("list", "--json", env=env).stdout)["weights"]
    assert [row["name"] for row in rows] == NAMES
    assert rows[1]["sources"][0]["sha256"].startswith("10025a17")
    assert [row["name"] for row in rows if row["cached"]] == ["u2net_nano"]


def test_the_bundled_weights_need_no_download(home, monkeypatch):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    result = fetch(catalog.get_entry("u2net_nano"))
    assert (result.path, result.verified, result.source) == (bundled("u2net_nano.safetensors"), True, "bundled")
    assert not home.exists()
    assert "comes with the project" in called("fetch", "u2net_nano").stdout
    assert locate("u2net_nano").profile == "paper"


def test_bundled_weights_that_were_changed_are_named(home, tmp_path, monkeypatch):
    entry = catalog.get_entry("u2net_nano")
    (tmp_path / "u2net_nano.safetensors").write_bytes(b"changed")
    monkeypatch.setattr(catalog, "bundled", tmp_path.joinpath)
    with pytest.raises(DownloadError, match=r"comes with the project, but its sha256 is [0-9a-f]{64}, expected"):
        fetch(entry)


def test_a_catalog_of_ones_own_keeps_the_bundled_weights(tmp_path, monkeypatch):
    (tmp_path / "catalog.toml").write_text(GOOD)
    monkeypatch.setenv("U2ZOO_CATALOG", str(tmp_path / "catalog.toml"))
    assert locate("u2net_nano").path == bundled("u2net_nano.safetensors")


# Names wherever a source is named: a catalog whose weights are in the cache already.


@pytest.fixture
def mine(small_file, tmp_path, monkeypatch) -> Path:
    """A catalog with the entry `mine` of the portrait profile, cached: nothing is asked of the network."""
    folder = tmp_path / "home" / "mine"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(small_file.read_bytes())
    script = importlib.util.spec_from_file_location("add_weights", ROOT / "scripts" / "add_weights.py")
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    row = module.row("mine", "http://127.0.0.1:9/weights.safetensors", "http", small_file, "weights.safetensors")
    text = GOOD[: GOOD.index("[[")].replace("[w]", "[mine]").replace('"u2netp"', '"from shapes"')
    text = text.replace('"paper"', '"portrait"')
    (tmp_path / "catalog.toml").write_text(text + row)
    monkeypatch.setenv("U2ZOO_CATALOG", str(tmp_path / "catalog.toml"))
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return folder / "weights.safetensors"


def test_a_name_is_a_source_everywhere(mine, tmp_path):
    assert load_torch("mine").arch.encoder[0].mid_ch == 4
    assert Session("mine").profile is PROFILES["portrait"]
    assert Session("mine", profile="rembg").profile is PROFILES["rembg"]
    assert Session(mine).profile is PROFILES["paper"]
    (artifact,) = convert("mine", "safetensors", tmp_path / "out", options=Options(size=(32, 32)))
    assert artifact.path.name == "mine.safetensors"


def test_weights_convert_at_their_profiles_size(mine):
    assert at_the_size_of("mine", Options()).size == (512, 512)
    assert at_the_size_of("mine", Options(size=(64, 32))).size == (64, 32)
    assert at_the_size_of(mine, Options()).size is None


def test_commands_take_names_too(mine, tmp_path):
    photograph("astronaut.png", 128).save(tmp_path / "a.png")
    done = called("mask", tmp_path / "a.png", "-o", tmp_path / "m.png", "--model", "mine", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profile"] == "portrait"
    done = called("convert", "mine", "--to", "safetensors", "--size", "32", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.safetensors").is_file()


def test_a_file_of_that_name_wins(mine, tmp_path):
    (tmp_path / "mine").write_bytes(b"a file")
    assert locate("mine").path == Path("mine")
    with pytest.raises(InputError, match="mine: not a model of a known kind"):
        load_torch("mine")


@pytest.mark.parametrize("typo", ["min", "mine.pth", "minee"])
def test_what_is_neither_file_nor_name(mine, typo):
    with pytest.raises(InputError, match=f"{typo}: no such file, nor is it in the catalog — did you mean 'mine'"):
        load_torch(typo)
    done = called("convert", typo, "--to", "pth")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_an_unknown_name_tells_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'silueta'"):
        catalog.get_entry("siluetta")

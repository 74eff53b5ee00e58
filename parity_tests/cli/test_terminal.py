"""What people read: names keep their brackets, and at 80 columns nothing is cut off."""

import io
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from support.commands import called
from support.data import ROOT

from converters import FORMATS
from converters.bench import tables
from converters.bench.race import Row
from converters.engines import runnable
from u2net_zoo import errors
from u2net_zoo.cli import training_bar
from u2net_zoo.cli.commands import app
from u2net_zoo.cli.terminal import Whole, folded, print_table, progress_bar
from u2net_zoo.cli.training_bar import TrainingBar

NAME = "a[b]c [red]x[/red]"
NARROW = {"COLUMNS": "80"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(small_file, cat, tmp_path) -> Path:
    """Weights, a photograph and a mask whose paths look like markup."""
    (tmp_path / NAME).parent.mkdir()  # `a[b]c [red]x[`
    shutil.copy(small_file, tmp_path / f"{NAME}.safetensors")
    (tmp_path / "masks").mkdir()
    cat.convert("L").resize((40, 30)).save(tmp_path / "masks" / "a[b]c [red]x.png")
    cat.resize((40, 30)).save(tmp_path / f"{NAME}.png")
    return tmp_path


COMMANDS = {
    "convert": ["convert", f"{NAME}.safetensors", "--to", "pth", "--size", "64", "-o", f"{NAME} out"],
    "info": ["info", f"{NAME}.safetensors", "--no-run"],
    "verify": ["verify", f"{NAME}.safetensors", "--against", f"{NAME}.safetensors", "--images", f"{NAME}.png"],
    "mask": ["mask", f"{NAME}.png", "-o", f"{NAME} mask.png", "--model", f"{NAME}.safetensors"],
    "eval": ["eval", "masks", "--masks", "masks", "-o", f"{NAME} measures"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_names_keep_their_brackets_and_lines_fit(name, folder):
    done = called(*COMMANDS[name], cwd=folder, env={**os.environ, **NARROW})
    assert (done.returncode, done.stderr) == (0, "")
    assert NAME in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line.rstrip()) > 80] == []


@pytest.mark.parametrize("name", ["formats", "list"])
def test_tables_fit(name):
    done = called(name, env={**os.environ, **NARROW})
    assert "…" not in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line.rstrip()) > 80] == []


def test_an_error_keeps_the_brackets(tmp_path):
    done = called("info", f"{NAME}.onnx", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {NAME}.onnx: no such file\n")


# --- `u2zoo formats`


def test_formats_says_writing_and_running_apart_and_names_the_extra(monkeypatch):
    find_spec = runnable.find_spec
    gone = {"coremltools", "onnx"}  # files of ONNX run without the latter
    monkeypatch.setattr(runnable, "find_spec", lambda name: None if name in gone else find_spec(name))
    shown = called("formats", env={**os.environ, **NARROW}).stdout
    assert re.search(r"^onnx +no +yes +ONNX, \*\.onnx$", re.sub(" +$", "", shown, flags=re.M), re.M)
    assert re.search(r"^keras +yes +yes ", shown, re.M)
    for extra in ("onnx", "coreml"):
        assert f"\npip install -c constraints.txt -e '.[{extra}]'" in shown
    assert "brings coremltools for coreml, mlmodel" in " ".join(shown.split())
    assert [line for line in shown.splitlines() if len(line.rstrip()) > 80] == []


def test_formats_json_names_what_is_missing(monkeypatch):
    monkeypatch.setattr(runnable, "find_spec", lambda name: None if name == "onnx" else object())
    rows = {row["name"]: row for row in json.loads(called("formats", "--json").stdout)["formats"]}
    hint = errors.install_hint("onnx")
    missing = [{"to": "write", "package": "onnx", "extra": "onnx", "install": hint}]
    onnx, keras = rows["onnx"], rows["keras"]
    assert (onnx["ready"], onnx["writes"], onnx["runs"], onnx["missing"]) == (False, False, True, missing)
    assert (keras["ready"], keras["writes"], keras["runs"], keras["missing"]) == (True, True, True, [])


def test_the_hint_is_for_the_way_in_which_the_project_is_installed(monkeypatch, tmp_path):
    assert errors.install_hint("onnx") == "pip install -c constraints.txt -e '.[onnx]'"
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "u2net_zoo" / "errors.py"))
    assert errors.install_hint("onnx") == "pip install onnx onnxruntime scikit-image torch"


# --- tables, bars, lines


def test_a_table_shows_headings_cells_and_its_title_as_they_are(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    rows = [(f"{NAME}.onnx", "pip install -e '.[onnx]'", ":smile: " + "long " * 20), ("[/]", "", "")]
    print_table(stream, ("[name]", "[install]", "why"), rows, title="[title]")
    shown = stream.getvalue()
    for text in (f"{NAME}.onnx", "'.[onnx]'", "[name]", "[install]", "[title]", "[/]", ":smile:"):
        assert text in shown
    assert shown.count("long") == 20
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_a_bar_shows_the_name_of_a_file_as_it_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with progress_bar(stream, "{task.description}", "bar", "count") as bar:
        bar.add_task(f"{NAME} [/nothing]", total=3)
        bar.refresh()
    assert f"{NAME} [/nothing]" in stream.getvalue()


def test_a_bar_is_for_terminals():
    stream = io.StringIO()
    with progress_bar(stream, "spinner", "{task.description}", "bytes", "elapsed", "remaining") as bar:
        bar.add_task("quiet", total=3)
    assert stream.getvalue() == ""


def test_training_names_a_photograph_that_is_passed_over_as_it_is():
    stream = io.StringIO()
    bar = TrainingBar(stream)
    with bar.run(total=2, done=0):
        bar.step(1, 0.5)
        bar.validated(1, 0.5, better=True)
        bar.skipped(NAME, f"{NAME}.png: not a photograph", times=1)
    assert stream.getvalue() == f"skipped: {NAME}.png: not a photograph\n"


def test_training_tells_a_log_now_and_then_where_it_is(monkeypatch):
    now = iter((0, 59, 60, 61, 119, 120))
    monkeypatch.setattr(training_bar, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(training_bar, "LINES_APART", 60)
    stream = io.StringIO()
    bar = TrainingBar(stream)
    with bar.run(total=9, done=0):
        for step in range(1, 4):
            bar.step(step, 1 / step)
    assert stream.getvalue() == "step 2 of 9: loss 0.5000\n"


def test_parts_go_to_further_lines_and_paths_stay_whole():
    path = Path("folder with spaces") / ("long name " * 8)
    parts = ("head", path, "text " * 8 + "end")
    assert folded(parts, None) == f"head  {path}  {parts[2]}"
    assert folded(parts, 40, indent=6).splitlines() == [
        f"head  {path}",
        "      text text text text text text text",
        "      text end",
    ]
    assert folded(("one", "two", Whole("x" * 30), "three"), 20) == f"one  two\n    {'x' * 30}\n    three"


def test_a_benchmark_that_is_too_wide_repeats_the_names():
    times = {"median": 0.1, "low": 0.09, "high": 0.11, "load": 2.0, "max_abs": 1e-6, "ratio": 0.9}
    rows = [Row(name=f"runtime {n}", **times) for n in range(2)]
    wide, narrow = tables.aligned(rows), tables.aligned(rows, 80)
    assert max(map(len, wide)) > 80 >= max(map(len, narrow))
    assert sum(line.startswith("runtime 1") for line in narrow) == 2
    assert set(" ".join(narrow).split()) == set(" ".join(wide).split())


def test_help_shows_every_text_as_it_is():
    group = typer.main.get_command(app)
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        shown = " ".join(called(name, "--help", env={**os.environ, "COLUMNS": "1000"}).stdout.split())
        for param in command.params:
            assert " ".join((getattr(param, "help", None) or "").split()) in shown, (name, param.name)


def test_rich_is_used_in_one_place():
    found = [
        str(path.relative_to(ROOT))
        for folder in ("u2net_zoo", "converters")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search(r"^\s*(from|import) rich\b", path.read_text(encoding="utf-8"), re.M)
    ]
    assert found == [str(Path("u2net_zoo") / "cli" / "terminal.py")]


def test_every_format_is_a_row():
    shown = called("formats").stdout.splitlines()
    assert {line.split()[0] for line in shown if re.match(r"[a-z]\w+ +(yes|no) ", line)} == set(FORMATS)

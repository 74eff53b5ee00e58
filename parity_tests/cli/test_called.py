"""What the tests call in this process is what a person starts: the same words, the same exit code, nothing left."""

import json
import os
import signal
import subprocess
import sys
import warnings

import pytest
from support.commands import ENDINGS, called, u2zoo
from support.data import NANO, ROOT

from u2net_zoo.cli.console import state

SAME = {
    "a result": ["formats"],
    "a wide help": ["mask", "--help"],
    "JSON": ["list", "--json"],
    "a usage error": ["convert", "x.pth"],
    "an error": ["convert", "none.pth", "--to", "onnx"],
    "an error of typer's": ["--no-such-option"],
}

# Writes by every road that there is, and tells what it finds; run by `main` in the place of the commands.
PROBE = """
def probe(standalone_mode, prog_name):
    import logging, os, signal, subprocess, sys, warnings
    print(sys.argv[1:], os.getcwd(), os.environ.get("U2ZOO_PROBE"), os.environ.get("HOME"), repr(sys.stdin.read()))
    print(sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, flush=True)
    os.write(1, b"below Python\\n")
    subprocess.run(["echo", "a child"])
    subprocess.run("echo a child that warns >&2", shell=True)
    warnings.warn("a warning")
    warnings.warn("of the program's own", DeprecationWarning)
    logging.getLogger("library").warning("a record")
    logging.getLogger("library").info("nobody asks for this one")
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, callable(signal.getsignal(signal.SIGTERM)))
    print(sys.modules["__main__"].__package__ in ("", None, "u2net_zoo"))
    sys.stdout.flush()  # a pipe holds text back, and bytes overtake it
    sys.stdout.buffer.write(b"bytes \\xff\\n")
    os.environ["U2ZOO_PROBE"] = "changed"
    return 7
"""
STARTED = f"""{PROBE}
import u2net_zoo.cli.commands as program
program.app = probe
program.main()
"""


@pytest.mark.parametrize("arguments", SAME.values(), ids=SAME)
def test_a_call_is_what_a_process_is(arguments, tmp_path):
    environment = {**os.environ, "COLUMNS": "91", "U2ZOO_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    here, there = (way(*arguments, cwd=tmp_path, env=environment) for way in (called, u2zoo))
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


def test_a_call_has_the_streams_and_surroundings_of_a_process(tmp_path, monkeypatch):
    import u2net_zoo.cli.commands as program

    environment = {**os.environ, "U2ZOO_PROBE": "set", "PYTHONPATH": str(ROOT)}
    there = subprocess.run(
        [sys.executable, "-c", STARTED, "a", "b c"],
        capture_output=True, input=b"typed", cwd=tmp_path, env=environment, timeout=60,
    )  # fmt: skip
    names = {"__name__": "__main__"}
    exec(compile(PROBE, "<string>", "exec"), names)  # noqa: S102
    monkeypatch.setattr(program, "app", names["probe"])
    here = called("a", "b c", input="typed", cwd=tmp_path, env=environment)
    out, err = (text.decode("utf-8", "surrogateescape") for text in (there.stdout, there.stderr))
    assert here.stdout.splitlines() == out.splitlines()
    assert here.stderr.splitlines() == err.splitlines()
    assert (here.returncode, len(here.stderr.splitlines())) == (7, 4)


def surroundings() -> dict:
    return {
        "folder": os.getcwd(),
        "variables": dict(os.environ),
        "arguments": sys.argv,
        "program": sys.modules["__main__"],
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "files": [os.fstat(number).st_ino for number in (0, 1, 2)],
        "signals": [signal.getsignal(number) for number in ENDINGS],
        "warnings": (list(warnings.filters), warnings.showwarning),
        "state": vars(state).copy(),
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list", "--json"], 0),
        (["--debug", "convert", "none.pth", "--to", "onnx", "--json"], 2),
        (["mask", ROOT / "docs" / "apps.png", "-o", "m.png", "--model", NANO, "--json"], 0),
    ],
)
def test_a_call_leaves_nothing_behind(arguments, code, tmp_path):
    before = surroundings()
    assert called(*arguments, cwd=tmp_path, env={**os.environ, "COLUMNS": "70"}).returncode == code
    assert surroundings() == before


def test_a_call_that_breaks_off_leaves_nothing_behind(monkeypatch, tmp_path):
    import u2net_zoo.cli.commands as program

    class Broken(BaseException):
        """As pytest's own time limit."""

    def broken(**_):
        raise Broken

    monkeypatch.setattr(program, "app", broken)
    before = surroundings()
    with pytest.raises(Broken):
        called("list", cwd=tmp_path, env=dict(os.environ), input="x")
    assert surroundings() == before


def test_one_call_knows_nothing_of_another(tmp_path):
    catalog = tmp_path / "catalog.toml"
    environment = {**os.environ, "U2ZOO_CATALOG": str(catalog)}
    catalog.write_text("")
    assert json.loads(called("list", "--json", env=environment).stdout)["weights"] == []
    catalog.write_text("no toml")
    done = called("list", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "catalog.toml" in done.stderr
    assert "u2net_nano" in called("list").stdout  # and for people, not as JSON

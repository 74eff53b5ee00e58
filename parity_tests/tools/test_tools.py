"""Environments of tools: made whole or not at all, once, from a list; what is left of a dead process goes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib

import pytest
from support import tiny_tool
from support.commands import called
from support.data import ROOT, SEARCHED
from support.lasting import full_for

from converters import FORMATS, Options
from converters.progress import watched
from converters.tools import TOOLS, Environment, Tool, installing
from converters.tools.installing import GUARD
from u2net_zoo.errors import DownloadError, UsageError

SYNTAX = re.compile(r"[a-z0-9-]+==[\w.]+( ; [^;]+)?")


@pytest.fixture
def surroundings(server, home, tmp_path):
    """Makes the environment of a command whose packages come from our server, in the manner of the test's choice."""
    tiny_tool.write_wheel(tmp_path / "www")

    def make(manner: str = "ok", **more: str) -> dict[str, str]:
        links = tmp_path / "www" / f"{manner}.html"
        links.write_text(f'<!DOCTYPE html><html><body><a href="/{manner}/{tiny_tool.NAME}">tiny</a></body></html>')
        pip = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": f"{server.base}/index/{links.name}"}
        quick = {"NO_CACHE_DIR": "1", "RETRIES": "1", "TIMEOUT": "20"}
        ours = {f"PIP_{key}": value for key, value in {**pip, **quick}.items()}
        return {**os.environ, "PYTHONPATH": SEARCHED, "U2ZOO_HOME": str(home), **ours, **more}

    return make


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen:
    command = [sys.executable, tiny_tool.__file__, "tools", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tools_in(home) -> list[str]:
    """What stands in the folder of the tools, without the lock."""
    return sorted(path.name for path in home.glob("tools/*") if not path.name.endswith(".lock"))


def imported(python) -> str:
    program = "import tiny, importlib.util as u; print(tiny.WORD, u.find_spec('numpy'), u.find_spec('u2net_zoo'))"
    return subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout


def test_two_processes_make_it_once_and_it_holds_its_list_alone(server, home, surroundings):
    env = surroundings("slow")
    processes = [start(env, "make", "tiny", "--json") for _ in range(2)]
    rows = []
    for code, out, err in map(ended, processes):
        assert (code, err) == (0, "")
        rows.append(json.loads(out))
    assert rows[0] == rows[1]
    assert (rows[0]["state"], rows[0]["packages"], rows[0]["path"]) == ("ready", 1, str(home / "tools" / "tiny"))
    assert server.requests.count(f"/slow/{tiny_tool.NAME}") == 1
    assert imported(Environment(tiny_tool.TINY).python) == "here None None\n"
    assert tools_in(home) == ["tiny"]


@pytest.mark.full
def test_another_list_makes_it_anew_and_remove_removes_it(server, home, surroundings, monkeypatch):
    assert ended(start(surroundings(), "make", "tiny"))[0] == 0
    environment, marked = Environment(tiny_tool.TINY), home / "tools" / "tiny" / "marked"
    marked.write_text("by a test")
    assert ended(start(surroundings(), "make", "tiny"))[0] == 0
    assert marked.exists()
    monkeypatch.setenv("TINY_PINS", "# another\ntiny==1.0\n")
    assert environment.state == "outdated"
    assert ended(start(surroundings(), "make", "tiny"))[0] == 0
    assert (environment.state, marked.exists()) == ("ready", False)
    code, out, _ = ended(start(surroundings(), "remove", "tiny", "--json"))
    assert (code, json.loads(out)["name"], tools_in(home)) == (0, "tiny", [])
    assert json.loads(out)["bytes"] > 1_000_000
    code, out, err = ended(start(surroundings(), "remove", "tiny"))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: tiny: nothing of it is in .*; `u2zoo tools` lists what is\n", err)


def test_killed_half_way_its_remains_go_with_the_next_use(server, home, surroundings):
    process = start(surroundings("stalls"), "make", "tiny")
    wait_for(lambda: f"/stalls/{tiny_tool.NAME}" in server.requests)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (remains,) = tools_in(home)
    assert re.fullmatch(r"\.tiny\.\w+\.partial", remains)
    assert Environment(tiny_tool.TINY).state == "absent"
    assert ended(start(surroundings(), "make", "tiny"))[0] == 0
    assert tools_in(home) == ["tiny"]


@pytest.mark.parametrize(
    ("number", "code"), full_for([(signal.SIGINT, 130), (signal.SIGTERM, 143)], (signal.SIGTERM, 143))
)
def test_interrupted_it_leaves_nothing(server, home, surroundings, number, code):
    process = start(surroundings("stalls"), "make", "tiny")
    wait_for(lambda: f"/stalls/{tiny_tool.NAME}" in server.requests)
    process.send_signal(number)
    found, out, err = ended(process)
    assert (found, out, tools_in(home)) == (code, "", [])
    assert err in ("", "error: interrupted; nothing unfinished was kept\n")


@pytest.mark.full
def test_its_steps_are_reported(home, surroundings, monkeypatch):
    for key, value in surroundings("slow").items():
        monkeypatch.setenv(key, value)
    said: list[str] = []
    with watched(said.append):
        Environment(tiny_tool.TINY).make()
    steps = "starting|fetching tiny.*|installing packages"
    assert said
    assert [
        line for line in said if not re.fullmatch(rf"tiny: making its environment, once: ({steps}), \d+ s", line)
    ] == []


@pytest.mark.parametrize(
    ("log", "step"),
    [
        ("", "starting"),
        ("Looking in links: x\nCollecting numpy==1.26.4 (from -r pins.txt)\n", "fetching numpy==1.26.4"),
        ("Collecting a==1\n  Downloading http://127.0.0.1/x/a-1.whl (722 bytes)\nWARNING: b", "fetching a-1.whl"),
        ("Collecting a==1\nInstalling collected packages: a\n", "installing packages"),
    ],
)
def test_what_pip_writes_is_a_step(tmp_path, log, step):
    (tmp_path / "log").write_text(log)
    assert installing._step(tmp_path / "log") == step


def test_what_it_started_ends_with_it_and_so_do_the_children():
    sleeper = "print(1, flush=True); import time; time.sleep(300)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeper!r}])"
    command = [sys.executable, "-I", str(GUARD), "timeit", "-n", "1", child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guarded:
        assert guarded.stdout.readline() == b"1\n"
        guarded.communicate(timeout=60)  # closes its input, and waits until nobody holds its output any more
        assert guarded.returncode == (-signal.SIGKILL if hasattr(os, "setsid") else 1)


NOBODY = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/"}


@pytest.mark.parametrize(
    ("manner", "more", "says"),
    [
        ("ok", NOBODY, "the package index does not answer; try again with a network, or set PIP_INDEX_URL"),
        pytest.param(
            *("ok", {"TINY_PINS": "tiny==2.0\n"}, r"No matching distribution found for tiny==2\.0.*"),
            marks=pytest.mark.full,
        ),
        pytest.param("truncated", {}, ".*", marks=pytest.mark.full),
    ],
)
def test_packages_that_do_not_come_are_one_line_and_leave_nothing(home, surroundings, manner, more, says):
    code, out, err = ended(start(surroundings(manner, **more), "make", "tiny"))
    assert (code, out, tools_in(home)) == (2, "", [])
    assert re.fullmatch(rf"error: tiny: its packages could not be fetched: {says}\n", err), err


def test_a_cache_that_cannot_be_written_is_one_line(home, surroundings):
    home.write_text("a file is in the way")
    code, out, err = ended(start(surroundings(), "make", "tiny"))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: .*tiny: cannot write there: .*\n", err)


@pytest.mark.parametrize(("size", "says"), [(2, r"needs 10 MB, and \d MB are free; free some, or .*"), (11, ".*")])
def test_a_full_disk_is_one_line_and_leaves_nothing(home, surroundings, size, says):
    """A real file system of so many MB, in a mount namespace of its own: too few to begin, and too few to go on."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    home.mkdir()
    place, python = map(shlex.quote, (str(home), sys.executable))
    command = f"{python} {shlex.quote(tiny_tool.__file__)} tools make tiny; echo $?; ls {place}/tools"
    script = f"mount -t tmpfs -o size={size}m none {place} && {command}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=surroundings())
    assert done.stdout == "2\n"
    assert re.fullmatch(rf"error: .*tiny: {says}\n", done.stderr)


def test_offline_nothing_is_fetched(server, home, monkeypatch):
    monkeypatch.setenv("U2ZOO_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"U2ZOO_OFFLINE is set; .*: u2zoo tools make onnx2tf$"):
        Environment(TOOLS["onnx2tf"]).make()
    assert server.requests == []
    assert not home.exists()


def test_another_python_is_told_before_any_work(home, monkeypatch):
    old = Tool("onnx2tf", "", "--via onnx2tf", ((3, 8), (3, 9)), 1)
    monkeypatch.setitem(TOOLS, "onnx2tf", old)
    with pytest.raises(UsageError, match=r"exist for Python 3\.8 or 3\.9, and this is 3\.\d+; --via onnx2tf needs"):
        FORMATS["tflite"].settle(Options(via="onnx2tf"))
    with pytest.raises(UsageError, match="exist for Python"):
        Environment(old).make()
    assert not home.exists()


def test_the_list_of_tools_fits_a_narrow_terminal(home):
    done = called("tools", env={**os.environ, "COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "absent" in done.stdout
    rows = json.loads(called("tools", "--json", env=os.environ).stdout)["tools"]
    assert [(row["name"], row["state"], row["bytes"], row["for"]) for row in rows] == [
        (name, "absent", 0, f"--via {name}") for name in ("onnx2tf", "litert-torch")
    ]
    assert not home.exists()


def test_an_unknown_tool_is_one_line(home):
    done = called("tools", "make", "onx2tf", env=os.environ)
    assert (done.returncode, done.stderr) == (
        2,
        "error: unknown tool 'onx2tf'; tools: litert-torch, onnx2tf — did you mean 'onnx2tf'?\n",
    )


@pytest.mark.parametrize("name", TOOLS)
def test_every_list_is_pinned_generated_and_shipped(name):
    lines = TOOLS[name].packages
    assert [line for line in lines if not SYNTAX.fullmatch(line)] == []
    assert lines == sorted(lines)
    assert any(line.startswith("numpy==") for line in lines)  # the connection's arrays
    assert TOOLS[name].pins.splitlines()[1].startswith("# python scripts/pin_tool.py ")
    assert TOOLS[name].pythons
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert "converters" in wheel["targets"]["wheel"]["packages"]

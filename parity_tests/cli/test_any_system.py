"""A system without what only POSIX has: commands do there what they do here, and one module knows the differences."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import u2zoo
from support.data import NANO, ROOT, TESTS
from support.elsewhere.sitecustomize import LACKING, MODULES, PASSED, WORKING_SET
from support.photographs import photograph

ELSEWHERE = TESTS / "support" / "elsewhere"
HOUSE = [path for part in ("u2net_zoo", "converters", "scripts") for path in sorted((ROOT / part).rglob("*.py"))]
POSIX = re.compile(r"Runs on Linux( and macOS)?[.:]")


def there(*arguments, **more) -> subprocess.CompletedProcess:
    """The command on the other system, whose terminal shows what Windows' shows; it has to succeed."""
    path = os.pathsep.join(map(str, (ELSEWHERE, ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252:strict", "OMP_NUM_THREADS": "2"}
    done = u2zoo(*arguments, env=environment, encoding="cp1252", timeout=550, **more)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> dict[str, Path]:
    """The bundled network as ONNX and as ncnn, made there."""
    out = tmp_path_factory.mktemp("there")
    there("convert", "u2net_nano", "--to", "onnx,ncnn", "--size", "64", "-o", out)
    return {"onnx": out / "u2net_nano.onnx", "ncnn": out / "u2net_nano_ncnn"}


def test_the_other_system_is_really_without_them(tmp_path):
    """In the eyes of this project, in a process and in its children; what everything else here stands on."""
    script = tmp_path / "u2net_zoo" / "looks.py"
    script.parent.mkdir()
    script.write_text(
        "import os, signal, socket, subprocess, sys\n"
        "missing = [not hasattr(m, n) for m, n in ((os, 'fork'), (signal, 'SIGKILL'), (socket, 'AF_UNIX'))]\n"
        "for name in ('resource', 'fcntl'):\n"
        "    try:\n        exec('import ' + name)\n    except ModuleNotFoundError:\n        missing.append(True)\n"
        "for refused in (lambda: open('/proc/self/status', encoding='utf-8'),\n"
        "                lambda: open(__file__), lambda: subprocess.Popen(['true'], pass_fds=[1])):\n"
        "    try:\n        refused()\n    except (OSError, AssertionError):\n        missing.append(True)\n"
        "with open(__file__, encoding='utf-8'):\n"
        "    try:\n        os.remove(__file__)\n    except PermissionError:\n        missing.append(True)\n"
        "print(missing, flush=True)\n"
        "if len(sys.argv) < 2:\n    subprocess.run([sys.executable, __file__, 'child'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ELSEWHERE)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str([True] * 9)] * 2, done.stderr


def test_what_is_converted_there_is_what_is_converted_here(converted, nano_made):
    from converters import FORMATS, Options

    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    for name, path in converted.items():
        here = nano_made.one(name, Options(size=(64, 64))).path
        np.testing.assert_array_equal(FORMATS[name].run(path)(x)["mask"], FORMATS[name].run(here)(x)["mask"])
    assert all(b"\r" not in path.read_bytes() for path in converted["ncnn"].glob("*.param"))


@pytest.mark.full
def test_verify_starts_its_process_there_and_knows_its_memory(converted):
    done = there("verify", converted["onnx"], "--against", "u2net_nano", "--json")
    (result,) = json.loads(done.stdout)["artifacts"]
    assert result["ok"]
    assert result["memory_bytes"] == WORKING_SET


@pytest.mark.full
def test_bench_starts_its_processes_there(converted):
    done = there("bench", converted["onnx"], "--runs", "1", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert row["error"] is None
    assert row["memory"] == WORKING_SET
    assert row["max_abs"] < 1e-4


def test_a_folder_of_photographs_has_the_same_masks_there(converted, tmp_path):
    from u2net_zoo import Session

    (tmp_path / "in" / "more").mkdir(parents=True)
    whole = photograph("chelsea.png")
    for index, name in enumerate(("a.jpg", "more/b.jpg", "more/größe.png")):
        whole.crop((index, index, index + 96, index + 80)).save(tmp_path / "in" / name)
    there("mask", tmp_path / "in", "--recursive", "-o", tmp_path / "out", "--model", converted["onnx"], "--workers", 2)
    session = Session(converted["onnx"])
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert set(found) == {"a.png", "more/b.png", "more/größe.png"}
    for name, source in (("a.png", "a.jpg"), ("more/b.png", "more/b.jpg"), ("more/größe.png", "more/größe.png")):
        expected = session.mask(Image.open(tmp_path / "in" / source))
        np.testing.assert_array_equal(np.asarray(Image.open(found[name])), np.asarray(expected))


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252:strict", "utf-8:strict"])
def test_no_character_stops_the_output(encoding, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    name = tmp_path / "größe²\udcff→.onnx"
    done = u2zoo("info", name, env=environment, text=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"no such file" in done.stderr
    assert u2zoo("--help", env=environment, text=False).returncode == 0


@pytest.mark.full
def test_h5_weights_are_read_where_nothing_can_be_limited(tmp_path):
    from converters import FORMATS, Options
    from converters.loading import read_source

    FORMATS["h5"].write(read_source(NANO), tmp_path / "nano.h5", FORMATS["h5"].settle(Options(size=(64, 64))))
    assert "u2net_nano" in there("info", tmp_path / "nano.h5").stdout


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def says_so(path: Path, tree: ast.Module) -> bool:
    """Whether it is the module for it, or a script that says on which systems it runs."""
    return path.name == "system.py" or (
        path.parent.name == "scripts" and bool(POSIX.search(ast.get_docstring(tree) or ""))
    )


def posix_names(tree: ast.Module) -> set[str]:
    """What it uses that only POSIX has."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            lacking = MODULES & {node.module}
            found |= lacking | ({alias.name for alias in node.names} & LACKING.get(node.module or "", set()))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {ast.unparse(node)} & {"sys.platform", "os.name"}
            found |= {node.attr} & LACKING.get(node.value.id, set())
        elif isinstance(node, ast.keyword):
            found |= {node.arg} & ({*PASSED} - {"user", "group", "umask"})
        elif isinstance(node, ast.Constant) and str(node.value).startswith("/proc/"):
            found.add(node.value)
    return found


def test_one_module_knows_the_systems():
    """And who hands descriptors on asks it first whether that can be done.

    A program that imports nothing of this package looks for what it uses itself.
    """
    found = {}
    for path in HOUSE:
        tree = tree_of(path)
        if not says_so(path, tree) and (names := posix_names(tree)):
            found[path.name] = names
    assert found == {
        "starting.py": {"pass_fds"},
        "guarded.py": {"SIGKILL", "killpg", "setsid"},
        "page_server.py": {"os.name"},
    }
    assert posix_names(tree_of(ROOT / "u2net_zoo" / "system.py")) >= {"resource", "sched_getaffinity", "sys.platform"}


def test_text_is_opened_in_an_encoding_that_is_named():
    """The system's own would be another one on Windows: `²` written here could not be read there."""
    calls = [(path, node) for path in HOUSE for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert [f"{path.name}:{call.lineno}" for path, call in calls if is_bare(call)] == []


@pytest.mark.parametrize(
    "code", ["open(p)", "open(p, 'w')", "p.open('a')", "p.write_text(t)", "subprocess.run(c, text=True)"]
)
def test_text_without_an_encoding_would_be_seen(code):
    call = ast.parse(code).body[0].value
    assert is_bare(call)
    call.keywords.append(ast.keyword("encoding", ast.Constant("utf-8")))
    assert not is_bare(call)


def is_bare(call: ast.Call) -> bool:
    """Whether it opens text, or reads a process as text, without naming an encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    method, given = isinstance(call.func, ast.Attribute), {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in given:
        return False
    if name in ("run", "Popen"):
        return "text" in given
    if name in ("read_text", "write_text"):
        return len(call.args) <= (name == "write_text")
    if name != "open":
        return False
    place = 0 if method else 1
    mode = call.args[place] if len(call.args) > place else given.get("mode", ast.Constant("r"))
    return isinstance(mode, ast.Constant) and bool(re.fullmatch("[rwaxt+]+", str(mode.value)))

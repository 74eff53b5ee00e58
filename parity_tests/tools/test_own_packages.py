"""A tool's Python sees its own packages and these two, however they are installed here; it answers calls."""

import os
import shutil
import subprocess
import sys

import pytest
from support.data import ROOT

from converters.isolated.client import BOOTSTRAP, WORKER, IsolatedProcess
from u2net_zoo.errors import ArtifactError, UsageError

# What may be loaded at the start elsewhere, and what conversions bring.
LIGHT = {"PIL", "converters", "filelock", "numpy", "requests", "rich", "skimage", "torch", "typer", "u2net_zoo"}
SEES = """
import importlib.util, json
import converters, u2net_zoo.arch
names = ("numpy", "filelock", "rich", "support", "converters", "u2net_zoo")
print(json.dumps([name for name in names if importlib.util.find_spec(name)]), converters.__file__, u2net_zoo.__file__)
"""


@pytest.fixture
def installed(tmp_path):
    """A `site-packages` as a wheel makes it: our two packages beside one that is not for the tool's Python."""
    folder = tmp_path / "site-packages"
    for name in ("converters", "u2net_zoo"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "numpy").mkdir()
    (folder / "numpy" / "__init__.py").write_text("raise ImportError('of another version')")
    return folder


def test_what_lies_beside_our_packages_is_not_seen(installed, tmp_path):
    (installed / "converters" / "sees.py").write_text(SEES)
    command = [sys.executable, "-I", "-S", installed / "converters" / "isolated" / "bootstrap.py", "converters.sees"]
    surroundings = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=installed, env=surroundings, check=True)
    folders = f"{installed / 'converters' / '__init__.py'} {installed / 'u2net_zoo' / '__init__.py'}"
    assert done.stdout == f'["converters", "u2net_zoo"] {folders}\n'


@pytest.fixture
def process(installed):
    """The worker of that installation, under a Python that has its own NumPy."""
    bootstrap = installed / BOOTSTRAP.relative_to(ROOT)
    with IsolatedProcess("tool", [sys.executable, "-I", str(bootstrap), WORKER], {"PYTHONPATH": ""}) as process:
        yield process


def test_a_call_is_answered_and_its_errors_come_over(process):
    assert process.call("converters.options:describe", {"value": 0, "option": "batch"}) == "dynamic"
    with pytest.raises(ArtifactError, match=r"unexpected keyword argument 'size'"):
        process.call("converters.options:describe", {"size": 1})
    with pytest.raises(UsageError, match="'os:getpid': a function of this package is needed"):
        process.call("os:getpid", {})


def test_its_worker_needs_numpy_and_nothing_else():
    """What a tool brings for itself is all that there is."""
    program = f"import sys, {WORKER}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {name.partition(".")[0] for name in LIGHT & set(done.stdout.split())}
    assert ours == {"converters", "numpy", "u2net_zoo"}

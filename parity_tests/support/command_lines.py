"""Lines of a shell block, run: the program's own in this process, others, and pipes, by a shell."""

import glob
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import called
from support.data import ROOT

SHIMS = {"u2zoo": '"{python}" -m u2net_zoo "$@"', "python": '"{python}" "$@"', "python3": '"{python}" "$@"'}
PATIENCE = 300


def commands(text: str) -> list[str]:
    """The commands of a block, lines that go on joined; of a session with prompts (`$ `), what follows these."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.strip() for line in joined.splitlines()]
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]


def session(text: str) -> list[tuple[str, str]]:
    """(command, what it is shown to say) of a session with prompts."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), ""))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def parts_of(line: str) -> list[list[str]]:
    """The words of each command of a pipe; where it writes to is none of them."""
    parts: list[list[str]] = [[]]
    for word in words_of(line):
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part[: next((i for i, word in enumerate(part) if word[:1] in "<>"), len(part))] for part in parts]


def is_the_programs(line: str) -> bool:
    """Whether the line is one call of `u2zoo` and nothing that needs a shell but `*`."""
    words = words_of(line)
    return bool(words) and Path(words[0]).name == "u2zoo" and not _needs_a_shell(line)


def _needs_a_shell(line: str) -> bool:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&$`")
    lexer.whitespace_split = True
    return any(set(token) <= set("|<>;&$`") for token in lexer)


def _expanded(line: str, cwd: Path) -> list[str]:
    """The words, with what a shell makes of those that have a `*` and no quotes."""
    found = []
    for word in words_of(line):
        matches = sorted(glob.glob(word, root_dir=cwd)) if "*" in word and f"'{word}'" not in line else []
        found += matches or [word]
    return found


def run(line: str, cwd: Path, env: dict[str, str], more: str = "") -> subprocess.CompletedProcess:
    """Runs a command; `more` is appended to it where it is the program's."""
    if is_the_programs(line):
        return called(*_expanded(line, cwd)[1:], *shlex.split(more), cwd=cwd, env={**os.environ, **env})
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("needs bash")
    shims = _shims(cwd.parent / f"{cwd.name}-bin")
    path = os.pathsep.join((str(shims), os.environ["PATH"]))
    surroundings = {**os.environ, **env, "PATH": path, "PYTHONPATH": _searched()}
    return subprocess.run(
        [shell, "-ec", f"set -o pipefail; {line}"], cwd=cwd, env=surroundings, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip


def _searched() -> str:
    """PYTHONPATH of processes that are started elsewhere."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def _shims(folder: Path) -> Path:
    """A folder whose `u2zoo` and `python` are those of the tests."""
    if not folder.exists():
        folder.mkdir()
        for name, body in SHIMS.items():
            (folder / name).write_text(f"#!/bin/sh\nexec {body.format(python=sys.executable)}\n", newline="\n")
            (folder / name).chmod(0o755)
    return folder


def started(line: str, cwd: Path, env: dict[str, str]) -> tuple[subprocess.Popen, str]:
    """A server of the page (`u2zoo serve …`, `python3 …/serve.py`) on a free port, and its address."""
    words = words_of(line)
    if words[0] == "u2zoo":
        kept = [word for before, word in itertools.pairwise(words) if "--port" not in (before, word)]
        command = [sys.executable, "-m", "u2net_zoo", *kept, "--port", "0"]
    else:
        command = [sys.executable, words[1], "0"]
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **env, "PYTHONPATH": _searched()},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    said = process.stdout.readline()
    if not said.startswith("http://"):
        process.kill()
        raise AssertionError(f"{line}: {said}{process.communicate()[1]}")
    return process, said.split()[0].rstrip("/")

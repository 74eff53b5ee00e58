"""A page of the documentation, run block by block in a folder of its own: what raises is what is untrue."""

import contextlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import requests
from support import argument_checks, command_lines, shown_output, snippets
from support.data import ROOT
from support.documents import SESSION, Block

SHELL = ("", "sh", "bash", "shell", SESSION)
PYTHON = ("python", "py", "pycon")
DATA: dict[str, Callable] = {"toml": tomllib.loads, "json": json.loads, "mermaid": str.strip}
SHOWN_ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+")
RESULTS = ("-o", "--out")
# It tells of the weights that the project knows, so it is not given the stand-in catalog.
OF_THE_REAL_CATALOG = ("list",)
CLONE = "path/to/clone"  # as the pages call it


class Page:
    """`run(block)` in the page's order; `close()` ends its server. What a block printed is kept for the next."""

    def __init__(self, folder: Path, env: dict[str, str]):
        self.folder, self.env = folder, env
        self.namespace: dict = {"__name__": "page"}
        self.said: subprocess.CompletedProcess | None = None
        self.last: subprocess.CompletedProcess | None = None  # what the last output block was compared with
        self.server: subprocess.Popen | None = None
        self.address = ""

    def run(self, block: Block) -> None:
        """Raises AssertionError where the block does not do what the page says."""
        if block.is_output:
            self._compare(block)
        elif mark := block.mark("parsed"):
            wrong = {line: found for line in command_lines.commands(block.text) if (found := self._parsed(line))}
            assert not wrong, f"{block.place}: not parsed ({mark.reason}): {wrong}"
        elif block.mark("text"):
            pass
        elif block.language == SESSION:
            self._session(block)
        elif block.language in SHELL:
            self._shell(block)
        elif block.language in PYTHON:
            self._python(block)
        elif block.language == "swift":
            snippets.check_swift(block, self.folder)
        elif block.language in DATA:
            DATA[block.language](block.text)
        else:
            raise AssertionError(f"{block.place}: nothing runs {block.language!r}; a mark says what is done instead")

    def shown(self, block: Block) -> subprocess.CompletedProcess:
        """The process whose output the block shows."""
        mark = block.mark("output", "pattern")
        if mark.value:
            return self._one(mark.value, block)
        assert self.said, f"{block.place}: no block before this one was run"
        return self.said

    def _compare(self, block: Block) -> None:
        self.last = self.shown(block)
        self._agrees(block, block.text, self.last)

    def _agrees(self, block: Block, text: str, done: subprocess.CompletedProcess) -> None:
        figures = block.mark("pattern") is None
        told = (done.stdout, done.stderr + done.stdout)
        same = any(shown_output.agree(text, real, figures=figures) for real in told)
        assert same, f"{block.place} shows\n{text}\nand {done.args} says\n{done.stderr}{done.stdout}"

    def _shell(self, block: Block) -> None:
        done = [self._line(line, block) for line in command_lines.commands(block.text)]
        _check_codes(block, done)
        self._keep(done)

    def _session(self, block: Block) -> None:
        done = []
        for line, text in command_lines.session(block.text):
            done.append(self._line(line, block))
            if text.strip():
                self._agrees(block, text, done[-1])
        _check_codes(block, done)
        self._keep(done)

    def _keep(self, done: list) -> None:
        words = " && ".join(str(process.args) for process in done)
        out, err = ("".join(getattr(process, name) for process in done) for name in ("stdout", "stderr"))
        self.said = subprocess.CompletedProcess(words, done[-1].returncode if done else 0, out, err)

    def _line(self, line: str, block: Block) -> subprocess.CompletedProcess:
        if block.mark("server") and _starts_a_server(line):
            return self._serve(line)
        return self._one(line, block)

    def _one(self, line: str, block: Block) -> subprocess.CompletedProcess:
        line = self._addressed(line)
        line = line.replace("curl ", "curl --fail --silent --show-error ", 1) if line.startswith("curl ") else line
        line = line.replace(CLONE, ROOT.as_posix())
        words = command_lines.words_of(line)
        env = {} if len(words) > 1 and words[1] in OF_THE_REAL_CATALOG else self.env
        mark = block.mark("with")
        more = argument_checks.taken(words[1:], mark.value) if mark and words[0] == "u2zoo" else ""
        with snippets.registry_of(line, self.folder):
            done = command_lines.run(line, self.folder, env, more)
        done.args = line
        results = [after for word, after in itertools.pairwise(words) if word in RESULTS and after != "-"]
        missing = [name for name in results if not (self.folder / name).exists()]
        assert done.returncode or not missing, f"{block.place}: {line} wrote no {missing}"
        return done

    def _serve(self, line: str) -> subprocess.CompletedProcess:
        self.close()
        self.server, self.address = command_lines.started(line, self.folder, self.env)
        assert requests.get(self.address, timeout=60).status_code == 200
        return subprocess.CompletedProcess(line, 0, "", "")

    def _python(self, block: Block) -> None:
        out = io.StringIO()
        with contextlib.chdir(self.folder), snippets.environment(self.env), contextlib.redirect_stdout(out):
            snippets.run_python(replace(block, text=self._addressed(block.text)), self.namespace)
        self.said = subprocess.CompletedProcess(block.place, 0, out.getvalue(), "")

    def _addressed(self, text: str) -> str:
        """With the address of the page's server for the one that the page shows."""
        return SHOWN_ADDRESS.sub(self.address, text) if self.server else text

    @staticmethod
    def _parsed(line: str) -> str:
        return "; ".join(filter(None, map(argument_checks.parse, command_lines.parts_of(line))))

    def close(self) -> None:
        """Ends the page's server as Ctrl-C does."""
        if self.server is not None:
            self.server.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
            try:
                self.server.communicate(timeout=30)
            finally:
                self.server.kill()
                self.server = None


def _starts_a_server(line: str) -> bool:
    words = command_lines.words_of(line)
    return words[:2] == ["u2zoo", "serve"] or words[1:2] == [w for w in words[1:2] if w.endswith("serve.py")] != []


def _check_codes(block: Block, done: list) -> None:
    mark = block.mark("exit")
    expected = int(mark.value) if mark else 0
    wrong = [
        f"{p.args} ends with {p.returncode}: {p.stderr}{p.stdout}" for p in done if p.returncode not in (0, expected)
    ]
    assert not wrong, f"{block.place}: {wrong[0]}"
    assert not mark or expected in [p.returncode for p in done], f"{block.place}: nothing ended with {expected}"

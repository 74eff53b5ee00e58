"""A copy of this tree with an environment of its own, in which `mutants.py` plants faults and runs the tests.

Runs on Linux and macOS: it links packages, and ends tests with all that they started.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOT", "TESTS", "Clone"]

ROOT = Path(__file__).resolve().parents[1]
TREE = ("converters", "docs", "parity_tests", "scripts", "u2net_zoo", "weights")  # and the files beside them
TESTS = "parity_tests"
COLLECTION = "the collection of the tests"
SECONDS = 300  # for one test
LIMIT = 2400  # seconds for one run of pytest; what takes longer hangs
PASSED = (0, 5)  # pytest's exit codes; 5: no test was left to run
OUTSIDE = ("CI", "PYTHONPATH", "VIRTUAL_ENV")  # on CI a skipped test is a failure


class Clone:
    """The copy, in `folder`; this environment's packages are its own, but for this project: that is the copy.

    Args:
        threads: for the numeric libraries, where several clones work at once; 0: as they like.
    """

    def __init__(self, folder: Path, threads: int = 0):
        self.tree, self.cache, self.scratch = folder / "clone", folder / "cache", folder / "scratch"
        self.log = folder / "log"
        self.sound: dict[str, bool] = {}
        self.process: subprocess.Popen | None = None
        self.ended = False
        self._copy()
        self.python = self._installed(folder / "env")
        self.environment = {key: value for key, value in os.environ.items() if key not in OUTSIDE}
        self.environment |= {"U2ZOO_TEST_DATA": str(folder / "nothing"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self._check()

    def _copy(self) -> None:
        self.tree.mkdir(parents=True)
        for item in ROOT.iterdir():
            if item.is_file():
                shutil.copy2(item, self.tree)
            elif item.name in TREE:
                # Python takes a compiled file for the present one when second and size agree: a fault could be missed.
                shutil.copytree(item, self.tree / item.name, ignore=shutil.ignore_patterns("__pycache__"))
        for words in (["init", "--quiet"], ["add", "--all"]):  # some tests ask git which files there are
            subprocess.run(["git", *words], cwd=self.tree, check=True)

    def _installed(self, env: Path) -> Path:
        """An environment of links to this one's packages, without the file that puts this tree on the path.

        PYTHONPATH would do for most tests, but not for those that look from outside of the project.
        """
        venv.create(env, with_pip=False)
        site = next(env.glob("lib/python*/site-packages"))
        for item in Path(sysconfig.get_paths()["purelib"]).iterdir():
            if item.suffix != ".pth" or str(ROOT) not in item.read_text("utf-8"):
                (site / item.name).symlink_to(item)
        (site / "u2net_zoo_clone.pth").write_text(f"{self.tree}\n", "utf-8")
        return env / "bin" / "python"

    def _check(self) -> None:
        """Raises AssertionError unless it is the copy that is imported, from wherever Python is started."""
        code = "import converters, u2net_zoo; print(u2net_zoo.__file__); print(converters.__file__)"
        done = subprocess.run(
            [self.python, "-c", code], cwd="/", env=self.environment, capture_output=True, encoding="utf-8", check=True
        )
        if not all(Path(line).is_relative_to(self.tree) for line in done.stdout.splitlines()):
            raise AssertionError(f"not the copy {self.tree}, but {done.stdout.split()}")

    @contextlib.contextmanager
    def changed(self, file: str, before: str, after: str) -> Iterator[None]:
        """Inside, `after` stands in the place of `before` in the copy's `file`. Raises ValueError: it is not there."""
        path = self.tree / file
        text = path.read_text("utf-8")
        if text.count(before) != 1:
            raise ValueError(f"{path}: {before!r} is there {text.count(before)} times")
        path.write_text(text.replace(before, after), "utf-8")
        try:
            yield
        finally:
            path.write_text(text, "utf-8")

    def failing(self, *arguments: str) -> str | None:
        """The first test that fails in a run of pytest, None when all pass. Raises RuntimeError: it never ends."""
        shutil.rmtree(self.cache, ignore_errors=True)
        settings = [f"cache_dir={self.cache}", f"timeout={SECONDS}"]
        command = [
            self.python,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--hypothesis-seed=0",
            "--hypothesis-profile=first-failure",
            f"--basetemp={self.scratch}",
        ]
        command += [word for setting in settings for word in ("-o", setting)]
        if self._code([*command, *arguments]) in PASSED:
            return None
        found = self.cache / "v" / "cache" / "lastfailed"
        failed = json.loads(found.read_text("utf-8")) if found.is_file() else {}
        return next(iter(failed), COLLECTION)

    def _code(self, command: list[object]) -> int:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.tree, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        if self.ended:
            self._kill()
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._kill()
            raise RuntimeError(f"pytest did not end within {LIMIT} s") from None
        if code < 0:  # out of memory, perhaps: that says nothing of the fault
            raise RuntimeError(f"pytest was killed by signal {-code}")
        return code

    def is_sound(self, test: str) -> bool:
        """Whether a test that `failing` named passes as the tree is now; asked once for each.

        Alone, or else with those before it in its file: a block of a page goes on from them.
        """
        if test not in self.sound:
            one = "::" in test
            arguments = [] if test == COLLECTION else [test]
            alone = self.failing("-n", "0", *arguments, *([] if one else ["--collect-only"])) is None
            self.sound[test] = alone or (one and self.failing("-n", "0", test.partition("::")[0]) is None)
        return self.sound[test]

    def end(self) -> None:
        """Kills what runs, and what is started later."""
        self.ended = True
        self._kill()

    def _kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

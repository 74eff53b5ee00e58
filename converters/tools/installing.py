"""A venv and its packages: made by Python's own `venv` and `pip`, which is watched and says nothing itself."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from u2net_zoo.errors import DownloadError, OutputError, U2ZooError

if TYPE_CHECKING:
    from .registry import Tool

__all__ = ["install"]

GUARD = Path(__file__).with_name("guarded.py")
PIP = ("install", "--no-input", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:")
# pip's settings that say where packages come from stay in force; others send them elsewhere or change which ones come.
KEPT = {
    f"PIP_{name}"
    for name in (
        "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "PROXY", "CERT", "CLIENT_CERT", "TRUSTED_HOST",
        "TIMEOUT", "DEFAULT_TIMEOUT", "RETRIES", "CACHE_DIR", "NO_CACHE_DIR", "CONFIG_FILE",
    )
}  # fmt: skip
VERSIONS = (
    "import json; from importlib.metadata import distributions as d;"
    " print(json.dumps({x.metadata['Name'].lower().replace('_', '-').replace('.', '-'): x.version for x in d()}))"
)
UNREACHED = ("Retrying (", "ConnectionError", "ConnectTimeout", "Read timed out")  # in what pip says without a network
FETCHING = ("Collecting", "Downloading")  # how lines begin in which pip says what it fetches
LEAST_FREE = 1 << 16  # bytes; with less, a failure is taken for a full disk
CAME = ("Downloading", "Using cached", "Processing")  # how lines begin in which something came
INTERVAL = 0.5  # seconds between two words about progress


def install(tool: "Tool", folder: Path, python: Path, doing: Callable[[str], None]) -> None:
    """Makes the venv `folder`, whose interpreter will be `python`, with the tool's packages in it.

    Args:
        doing: called with the step, twice a second.

    Raises:
        DownloadError: packages did not come. OutputError: the disk is full, or this Python cannot make a venv.
    """
    log = folder.with_name("log")  # beside it: goes with the folder in which it is made
    if _run([sys.executable, "-I", str(GUARD), "venv", str(folder)], log, lambda: doing("starting")):
        reason = (_lines(log) or ["no reason given"])[-1]
        raise _full(tool, log) or OutputError(f"{tool.name}: this Python cannot make a venv: {reason}")
    pins = folder.with_name("pins.txt")
    pins.write_text(tool.pins, encoding="utf-8")
    command = [str(python), "-I", str(GUARD), "pip", *PIP, "--progress-bar", "off", "-r", str(pins)]
    if _run(command, log, lambda: doing(_step(log))):
        raise _full(tool, log) or _not_come(tool, log)
    _check_versions(tool, python)


def _check_versions(tool: "Tool", python: Path) -> None:
    """Raises DownloadError where pip put packages elsewhere, as a configuration file of its own can make it."""
    done = subprocess.run([str(python), "-I", "-c", VERSIONS], capture_output=True)
    there = json.loads(done.stdout) if done.returncode == 0 else {}
    pins = (line.split("==") for line in tool.packages if ";" not in line)  # those for every system
    wrong = [f"{name}=={version}" for name, version in pins if there.get(name) != version.strip()]
    if wrong:
        raise DownloadError(
            f"{tool.name}: pip did not put {wrong[0]} into its environment; look at `pip config list` for a target or"
            " prefix"
        )


def _run(command: Sequence[str], log: Path, watch: Callable[[], None]) -> int:
    """The exit code of `command`, which writes to `log` and ends with this process, however that ends."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key != "PYTHONPATH" and (key in KEPT or not key.startswith("PIP_"))
    }
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment) as process,
    ):
        try:
            while process.poll() is None:
                watch()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(INTERVAL)
        finally:
            if process.stdin:  # always; its end is what `guarded.py` waits for
                process.stdin.close()
            process.wait()
    return process.returncode


def _lines(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _step(log: Path) -> str:
    """What pip is at, in a few words: `fetching numpy==1.26.4`, `installing packages`."""
    for line in reversed(_lines(log)):
        first, *rest = line.split()
        if first == "Installing":
            return "installing packages"
        if first in FETCHING and rest:
            return f"fetching {Path(rest[0]).name}"
    return "starting"


def _full(tool: "Tool", log: Path) -> U2ZooError | None:
    """An OutputError where the disk was full, which pip may not have been able to write down."""
    noted = any("No space left" in line for line in _lines(log))
    if noted or shutil.disk_usage(log.parent).free < LEAST_FREE:
        return OutputError(f"{tool.name}: cannot make its environment: No space left on device; free some")
    return None


def _not_come(tool: "Tool", log: Path) -> DownloadError:
    lines = _lines(log)
    head = f"{tool.name}: its packages could not be fetched"
    if any(word in line for line in lines for word in UNREACHED) and not any(line.startswith(CAME) for line in lines):
        return DownloadError(
            f"{head}: the package index does not answer; try again with a network, or set PIP_INDEX_URL"
        )
    said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return DownloadError(f"{head}: {(said or lines or ['pip gave no reason'])[-1][:200]}")

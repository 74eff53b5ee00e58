"""Hooks: which tests come first, and what is said of those that could not run."""

import os
from collections import Counter

import pytest
from support.data import DATA, LACKING

# Files that take longest, first: a worker that is left with one of them at the end makes all the others wait.
LONGEST = (
    "test_pages",
    "test_goldens",
    "test_train_keras",
    "test_every_format",
    "test_foreign_files",
    "test_diagnosis",
    "test_cli",
)

# What a machine may lack where everything else is installed: hardware, rights, other people's servers.
BEYOND = (
    "CUDA",
    "needs the right to",
    "needs a folder that may not be written",
    "needs /dev/full",
    "needs a package index",
    "needs onnxruntime-web",
    "needs axe-core",
    "needs macOS",
    "needs Core AI's tools",
    "needs actionlint",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def _reasons(reporter) -> Counter[str]:
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", []))


def pytest_terminal_summary(terminalreporter) -> None:
    """One line for all that was not run, with its reasons and numbers."""
    reasons = _reasons(terminalreporter)
    if reasons:
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"not run: {told}", yellow=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI everything that can be installed is: a skip for want of it is a failure there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    allowed = BEYOND if DATA.exists() else (*BEYOND, LACKING)
    missing = sorted(reason for reason in _reasons(reporter) if not any(part in reason for part in allowed))
    if missing:
        reporter.write_line(f"error: skipped on CI: {'; '.join(missing)}", red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

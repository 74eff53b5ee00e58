#!/usr/bin/env python3
"""Plants one-line faults, one at a time, and runs the tests that `make test` runs: every fault has to be caught.

    python scripts/mutants.py --list
    python scripts/mutants.py --only gate --first-only                    the likely tests alone: minutes
    python scripts/mutants.py --resume faults.jsonl --out docs/mutants.md       all of them: hours

The faults are `mutants.toml`. Each is planted in a copy of this tree that has an environment of its own, never here,
and tested as in a plain clone: without further data, and without the tests marked `full`. The files under `first` run
first; only when all of them pass the others do. A test that fails counts when it passes without the fault.

Ends with 1 when a fault survives, is stale (its line is not there exactly once), or cannot be judged.
Runs on Linux and macOS.
"""

import argparse
import hashlib
import json
import os
import queue
import re
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mutant_clone import ROOT, TESTS, Clone

FAULTS = Path(__file__).with_suffix(".toml")
TABLE = "## Table\n"
CAUGHT, PASSED = "caught", "passed first"


@dataclass(frozen=True)
class Fault:
    """One line as a tired engineer might write it.

    Attributes:
        before, after: a piece of `file` that is there exactly once, and what takes its place; one line differs.
        first: files in `parity_tests` that are likely to catch it, the quickest first.
    """

    area: str
    name: str
    file: str
    before: str
    after: str
    first: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return hashlib.sha256("\0".join((self.file, self.before, self.after)).encode()).hexdigest()[:16]

    def stale(self) -> str:
        """Why it cannot be planted; empty when it can."""
        if missing := [name for name in (self.file, *self._paths) if not (ROOT / name).is_file()]:
            return f"no such file: {', '.join(missing)}"
        text = (ROOT / self.file).read_text("utf-8")
        if text.count(self.before) != 1:
            return f"the line is there {text.count(self.before)} times"
        lines, others = text.splitlines(), text.replace(self.before, self.after).splitlines()
        if len(lines) != len(others) or sum(a != b for a, b in zip(lines, others, strict=True)) != 1:
            return "not one line differs"
        try:
            if self.file.endswith(".py"):
                compile("\n".join(others), self.file, "exec")
        except SyntaxError as error:
            return f"no Python any more: {error}"
        return ""

    @property
    def _paths(self) -> list[str]:
        return [f"{TESTS}/{name}" for name in self.first]

    def judged(self, clone: Clone, first_only: bool) -> "Outcome":
        """What becomes of it in the clone."""
        start = time.monotonic()
        try:
            status, by = self._tried(clone, first_only)
        except RuntimeError as error:
            status, by = "unclear", str(error)
        return Outcome(self.key, status, by, round(time.monotonic() - start, 1))

    def _tried(self, clone: Clone, first_only: bool) -> tuple[str, str]:
        with clone.changed(self.file, self.before, self.after):
            failed = clone.failing("-n", "0", *self._paths) if self.first else None
            if failed is None and not first_only:
                failed = clone.failing(*(f"--ignore={path}" for path in self._paths))
        if failed is None:
            return (PASSED if first_only else "survived"), ""
        if not clone.is_sound(failed):
            return "unclear", f"{failed} fails without the fault too"
        return CAUGHT, failed


@dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes:
        key: the fault's.
        status: `caught`, `survived`, `passed first` (no more was asked for), `stale`, or `unclear`: the test that fails
            does so without the fault too, or nothing ended.
        by: the first test that failed; otherwise the reason.
    """

    key: str
    status: str
    by: str = ""
    seconds: float = 0.0


def faults_named(pattern: str) -> list[Fault]:
    """The faults whose area, name or file the pattern finds. Raises ValueError when one is there twice."""
    rows = tomllib.loads(FAULTS.read_text("utf-8"))["fault"]
    faults = [Fault(**{**row, "first": tuple(row.get("first", ()))}) for row in rows]
    if len({fault.key for fault in faults}) < len(faults):
        raise ValueError(f"{FAULTS.name}: a fault is there twice")
    return [f for f in faults if re.search(pattern, f"{f.area}\n{f.name}\n{f.file}", re.IGNORECASE)]


def run(faults: Sequence[Fault], jobs: int, first_only: bool, told: Callable[[Fault, Outcome], None]) -> None:
    """Tries the faults, `jobs` at a time, each in a clone of its own; `told` hears of every outcome."""
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else 0
    free: queue.SimpleQueue[Clone] = queue.SimpleQueue()
    lock = threading.Lock()

    def tried(fault: Fault) -> None:
        clone = free.get()
        try:
            outcome = fault.judged(clone, first_only)
            with lock:
                if not clone.ended:
                    told(fault, outcome)
        finally:
            free.put(clone)

    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        clones = [Clone(Path(folder) / str(n), threads) for n in range(jobs)]
        for clone in clones:
            free.put(clone)
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(tried, fault) for fault in faults]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for clone in clones:
                    clone.end()
                raise


def remembered(file: Path | None) -> dict[str, Outcome]:
    """What an earlier campaign caught, by the faults' keys."""
    rows = file.read_text("utf-8").splitlines() if file and file.is_file() else []
    found = [Outcome(**json.loads(row)) for row in rows]
    return {outcome.key: outcome for outcome in found if outcome.status == CAUGHT}


def campaign(options: argparse.Namespace, faults: Sequence[Fault]) -> dict[str, Outcome]:
    """The outcome of every fault that was tried, here or earlier, or that is stale; by its key."""
    from rich import progress
    from rich.console import Console

    earlier = remembered(options.resume)
    outcomes = {fault.key: Outcome(fault.key, "stale", reason) for fault in faults if (reason := fault.stale())}
    outcomes |= {f.key: earlier[f.key] for f in faults if f.key in earlier and f.key not in outcomes}
    todo = [] if options.list else [fault for fault in faults if fault.key not in outcomes]
    console = Console(stderr=True)
    columns = (progress.SpinnerColumn(), progress.MofNCompleteColumn(), progress.TimeElapsedColumn(),
               progress.TimeRemainingColumn(), progress.TextColumn("{task.description}", markup=False))  # fmt: skip
    with progress.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False
    ) as bar:
        task = bar.add_task("", total=len(todo))

        def told(fault: Fault, outcome: Outcome) -> None:
            outcomes[fault.key] = outcome
            if options.resume:
                with options.resume.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
            if not options.json:
                bar.stop()
                print(said(fault, outcome), flush=True)
                bar.start()
            bar.update(task, advance=1, description=fault.name)

        if todo:
            run(todo, options.jobs, options.first_only, told)
    return outcomes


def said(fault: Fault, outcome: Outcome | None) -> str:
    if outcome is None:
        return f"{'':12} {'':9} {fault.area}: {fault.name}  ({fault.file})"
    return f"{outcome.status:12} {outcome.seconds:7.1f} s {fault.area}: {fault.name}  {outcome.by}".rstrip()


def write_table(path: Path, faults: Sequence[Fault], outcomes: dict[str, Outcome]) -> None:
    """Replaces what follows the heading `## Table` of the page; what stands before it stays."""
    caught = sum(outcomes[f.key].status == CAUGHT for f in faults if f.key in outcomes)
    rows = [TABLE, f"{caught} of {len(faults)} caught, {time.strftime('%Y-%m-%d')}.", ""]
    rows += ["| area | fault | planted in | caught by | s |", "|---|---|---|---|---|"]
    for fault in faults:
        found = outcomes.get(fault.key, Outcome(fault.key, "not tried yet"))
        by = f"`{found.by}`" if found.status == CAUGHT else f"**{found.status}** {found.by}".rstrip()
        cells = (fault.area, fault.name, f"`{fault.file}`", by, f"{found.seconds:.0f}" if found.seconds else "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    before = path.read_text("utf-8").partition(TABLE)[0] if path.is_file() else ""
    path.write_text(before + "\n".join([*rows, ""]), "utf-8")


def conclude(options: argparse.Namespace, faults: Sequence[Fault], outcomes: dict[str, Outcome]) -> int:
    if options.out:
        write_table(options.out, faults, outcomes)
    wrong = [fault for fault in faults if fault.key in outcomes and outcomes[fault.key].status not in (CAUGHT, PASSED)]
    if options.json:
        rows: list[dict[str, Any]] = [
            {**asdict(fault), **asdict(outcomes[fault.key])} for fault in faults if fault.key in outcomes
        ]
        print(json.dumps({"first_only": options.first_only, "faults": rows}, indent=2))
        return int(bool(wrong))
    for fault in faults if options.list else wrong:
        print(said(fault, outcomes.get(fault.key)))
    counts = {
        status: sum(o.status == status for o in outcomes.values()) for status in {o.status for o in outcomes.values()}
    }
    print(
        f"{len(faults)} faults: " + (", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "none tried")
    )
    if options.first_only:
        print("only the files under `first` were run: what passed them is not called a survivor yet")
    return int(bool(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="faults whose area, name or file it finds")
    parser.add_argument("--jobs", type=int, default=1, help="faults that are tried at the same time (1)")
    parser.add_argument("--list", action="store_true", help="show the faults and whether they can be planted")
    parser.add_argument("--first-only", action="store_true", help="run the files under `first` alone; proves less")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="keep outcomes there; what it says is caught is done"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the table into this page")
    options = parser.parse_args()
    if options.out and (options.only or options.first_only):
        parser.error("--out is the table of all faults and of all tests; it goes with neither --only nor --first-only")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the tests end too, and the copies go
    faults = faults_named(options.only)
    try:
        outcomes = campaign(options, faults)
    except KeyboardInterrupt:
        return 130
    return conclude(options, faults, outcomes)


if __name__ == "__main__":
    sys.exit(main())

"""Runs the pages of the documentation and the notebooks, and writes what they show anew where it is no longer true.

python scripts/renew_docs.py                                         every page, every notebook
python scripts/renew_docs.py README.md docs/notebooks/NAME.ipynb     these
python scripts/renew_docs.py --list                                  what is marked in the pages, and why

Outputs marked `pattern` are of other weights: they are named, not written. CONTRIBUTING.md explains the marks.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "parity_tests")]


def main() -> int:
    from support.documents import PAGES
    from support.notebooks import NOTEBOOKS

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    every = [*PAGES, *(path.relative_to(ROOT).as_posix() for path in NOTEBOOKS)]
    parser.add_argument("files", nargs="*", default=every, metavar="FILE", help="Pages and notebooks.")
    parser.add_argument("--list", action="store_true", help="Show the marks and run nothing.")
    options = parser.parse_args()
    if unknown := [name for name in options.files if name not in every]:
        parser.error(f"{unknown[0]} is no page and no notebook; there are {', '.join(every)}")
    pages = [name for name in options.files if name.endswith(".md")]
    if options.list:
        _list(pages)
        return 0
    with tempfile.TemporaryDirectory(prefix="u2zoo-docs-") as place:
        os.environ.update(U2ZOO_HOME=f"{place}/home", U2ZOO_RUNTIME="torch")
        wrong = _renew_pages(pages, Path(place)) if pages else 0
        for name in (name for name in options.files if name.endswith(".ipynb")):
            _renew_notebook(ROOT / name, Path(tempfile.mkdtemp(dir=place)))
    return 1 if wrong else 0


def _list(pages: list[str]) -> None:
    from support.documents import blocks

    for block in (block for page in pages for block in blocks(page)):
        marks = ", ".join(
            f"{mark.word} {mark.value}".strip() + f" ({mark.reason})" * bool(mark.reason) for mark in block.marks
        )
        print(f"{block.place}: {block.language or 'shell'}: {marks or 'run'}")


def _renew_pages(pages: list[str], place: Path) -> int:
    """How many blocks failed, or show what cannot be written anew."""
    from support.artifacts import Store
    from support.documented_folder import Surroundings
    from support.documents import blocks

    wrong = 0
    (place / "store").mkdir()
    with contextlib.closing(Surroundings(Store(place / "store"), place)) as surroundings:
        for name in pages:
            with contextlib.closing(surroundings.page(place / Path(name).stem)) as page:
                renewed = {}
                for block in blocks(name):
                    try:
                        page.run(block)
                    except AssertionError as error:
                        print(error, file=sys.stderr)
                        if block.mark("output") and block.is_output and page.last is not None:
                            renewed[block] = page.last.stdout or page.last.stderr
                        else:
                            wrong += 1
            _rewrite(ROOT / name, renewed)
    return wrong


def _rewrite(path: Path, renewed: dict) -> None:
    """Puts each output in its block's place, from the last to the first, so that lines keep their numbers."""
    lines = path.read_text("utf-8").splitlines()
    for block in sorted(renewed, key=lambda block: -block.line):
        fence = 0 if block.indented else 1
        fresh = [f"{'    ' * block.indented}{line}".rstrip() for line in renewed[block].splitlines()]
        lines[block.line - 1 + fence : block.end - fence] = fresh
        print(f"{block.place}: written anew")
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def _renew_notebook(path: Path, folder: Path) -> None:
    from support.notebooks import differences, digest, executed, read, written

    before, fresh = read(path), executed(path, folder)
    belongs = before["metadata"].get("code") == digest(before)
    if belongs and not differences(before, fresh):
        return
    path.write_text(written(fresh), "utf-8", newline="\n")
    print(f"{path.relative_to(ROOT)}: written anew")


if __name__ == "__main__":
    sys.exit(main())

"""Blocks that are no commands: Python in a namespace, Swift by its grammar; and a registry for what is fetched."""

import contextlib
import doctest
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from support.data import ROOT
from support.documents import Block

# What the pages' Swift calls of other makers' frameworks: ExecuTorch's module and tensor.
OF_OTHERS = {"forward", "scalars"}


def run_python(block: Block, namespace: dict) -> None:
    """Runs the block in the page's namespace; one with `>>> ` shows what it answers, which is compared."""
    if not block.text.lstrip().startswith(">>> "):
        text = block.text.replace("path/to/clone", ROOT.as_posix())
        exec(compile(text, block.place, "exec"), namespace)  # noqa: S102 - the pages are ours
        return
    test = doctest.DocTestParser().get_doctest(block.text, namespace, block.page, block.page, block.line)
    test.globs = namespace
    told: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append, clear_globs=False).failed
    assert not failed, f"{block.place}: {''.join(told)}"


@contextlib.contextmanager
def environment(more: dict[str, str]) -> Iterator[None]:
    from u2net_zoo import catalog

    catalog._load.cache_clear()
    try:
        with mock.patch.dict(os.environ, more):
            yield
    finally:
        catalog._load.cache_clear()


def check_swift(block: Block, folder: Path) -> None:
    """It is Swift, and what it calls is in a file that a conversion on the page wrote."""
    from tree_sitter import Language, Parser
    from tree_sitter_swift import language

    assert not Parser(Language(language())).parse(block.text.encode()).root_node.has_error, f"{block.place}: no Swift"
    written = "".join(path.read_text("utf-8") for path in folder.rglob("*.swift"))
    called = set(re.findall(r"\.(\w+)\(", block.text)) - OF_OTHERS
    unknown = {name for name in called if f"func {name}(" not in written}
    assert not unknown, (
        f"{block.place}: no Swift file on the page defines {sorted(unknown)}; OF_OTHERS lists others' own"
    )


@contextlib.contextmanager
def registry_of(line: str, folder: Path) -> Iterator[None]:
    """A registry on this machine, whose onnxruntime-web is a few bytes, for lines that fetch it."""
    if not re.search(r"--to[ =]\S*\bweb\b", line):
        yield
        return
    from support.npm import small_registry

    place = folder.parent / f"{folder.name}-registry"
    place.mkdir(exist_ok=True)
    with small_registry(place):
        yield

"""A report of `u2zoo verify`, and an HTML file as a tree."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import faults
from support.commands import called
from support.photographs import photograph

from converters import Options

PHOTOGRAPHS = 18
VOID = {"br", "img", "input", "link", "meta", "wbr"}
ALONE = {"rect", "line"}  # of SVG, which close themselves


@dataclass(frozen=True)
class Reported:
    """The page, and what the command said of the same run with --json."""

    page: Path
    said: dict


@pytest.fixture(scope="session")
def reported(made, small_file, store) -> Reported:
    """On a clean file and on one with a planted fault, over 18 photographs."""

    def write(folder: Path) -> Reported:
        clean = made.one("onnx", Options(size=(64, 64), outputs="all")).path
        wrong = faults.planted(clean, folder / "wrong.onnx", faults.EDITS["align_corners=True"])
        (folder / "photos").mkdir()
        for n in range(PHOTOGRAPHS):
            picture = photograph("astronaut.png").resize((300 + 10 * n, 400))
            picture.save(folder / "photos" / f"photo & <{n}>.png")
        page, run = folder / "report.html", ("--images", folder / "photos", "--report", folder / "report.html")
        done = called("verify", clean, wrong, "--against", small_file, *run, "--json")
        assert done.returncode == 1, done.stderr
        return Reported(page, json.loads(done.stdout))

    return store.once("report", write)


@dataclass
class Node:
    """An element: its children are elements and texts."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Node | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def walk(self) -> "Iterator[Node]":
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str = "", kind: str = "") -> "list[Node]":
        """The elements below with this tag and this class, in order."""
        return [
            node
            for node in self.walk()
            if (not tag or node.tag == tag) and (not kind or kind in node.attributes.get("class", "").split())
        ]


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {name: value or "" for name, value in attrs})
        assert len(node.attributes) == len(attrs), f"<{tag}> has an attribute twice"
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        assert tag in ALONE, f"<{tag}/> does not close itself in HTML"
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parsed(html: str) -> Node:
    """The tree. Raises AssertionError where elements are not closed in order."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == [parser.root], f"never closed: {[node.tag for node in parser.open[1:]]}"
    return parser.root

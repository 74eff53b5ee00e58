"""The Markdown pages: their blocks of code with what is marked on them, their code spans, links and anchors.

A mark is an HTML comment right before a block, `<!-- docs: WORD[, reason] -->`; several may follow each other.
CONTRIBUTING.md lists the words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from support.data import ROOT

PAGES = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")))
COMMENT = re.compile(r"<!--\s*docs:\s*(.*?)\s*-->\s*", re.DOTALL)
# word -> does something follow it: never, always, or if one likes
WORDS = {"output": "perhaps", "pattern": "perhaps", "parsed": "", "text": "", "server": "", "full": "",
         "exit": "always", "with": "always"}  # fmt: skip
EXPLAINED = ("parsed", "text", "full", "exit")  # these need a reason
NOT_RUN = ("parsed", "text")
SESSION = "console"  # commands behind `$ `, and what they say


class MarkError(Exception):
    """A mark that nobody can follow."""


@dataclass(frozen=True)
class Mark:
    """`word`, what it takes (`exit 1`, `with --size 64`, `output of u2zoo …`), and why."""

    word: str
    value: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Block:
    """A block of code. `line` is its first line in the page, from 1; `language` is empty for an indented one."""

    page: str
    line: int
    end: int
    language: str
    text: str
    marks: tuple[Mark, ...] = ()
    indented: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def mark(self, *words: str) -> Mark | None:
        return next((mark for mark in self.marks if mark.word in words), None)

    @property
    def is_output(self) -> bool:
        return self.language != SESSION and self.mark("output", "pattern") is not None

    @property
    def is_run(self) -> bool:
        return not self.is_output and self.mark(*NOT_RUN) is None


def parse_mark(text: str) -> Mark:
    """`parsed, needs a GPU` as a Mark. Raises MarkError."""
    said, _, reason = text.partition(", ")
    word, _, value = said.partition(" ")
    if word not in WORDS:
        raise MarkError(f"unknown word {word!r}; allowed: {', '.join(WORDS)}")
    if (WORDS[word] == "always" and not value) or (not WORDS[word] and value):
        raise MarkError(f"{word!r} takes {'a value' if WORDS[word] else 'none'}: {text!r}")
    if word in EXPLAINED and not reason:
        raise MarkError(f"{word!r} needs a reason: `docs: {said}, because …`")
    return Mark(word, value.removeprefix("of "), reason)


def parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


@cache
def tokens(page: str) -> list[Token]:
    return parse((ROOT / page).read_text(encoding="utf-8"))


def blocks(page: str, text: str | None = None) -> list[Block]:
    """The blocks of a page, in its order; `text` is read instead of the file. Raises MarkError."""
    found, waiting = [], []
    for token in tokens(page) if text is None else parse(text):
        if token.type == "html_block" and (comments := COMMENT.findall(token.content)):
            waiting += [_mark(comment, page, token) for comment in comments]
        elif token.type in ("fence", "code_block"):
            start, end = token.map
            language = (token.info.split() or [""])[0]
            indented = token.type == "code_block"
            found.append(Block(page, start + 1, end, language, token.content, tuple(waiting), indented))
            waiting = []
        elif waiting:
            raise MarkError(f"{page}:{token.map[0] if token.map else '?'}: no block follows the mark {waiting[0]}")
    if waiting:
        raise MarkError(f"{page}: no block follows the mark {waiting[0]}")
    return found


def _mark(comment: str, page: str, token: Token) -> Mark:
    try:
        return parse_mark(" ".join(comment.split()))
    except MarkError as error:
        raise MarkError(f"{page}:{token.map[0] + 1}: {error}") from None


def _inline(page: str) -> Iterator[tuple[int, Token]]:
    for token in tokens(page):
        for child in token.children or ():
            yield token.map[0] + 1, child


def spans(page: str) -> list[tuple[int, str]]:
    """(line of its paragraph, text) of each code span."""
    return [(line, " ".join(child.content.split())) for line, child in _inline(page) if child.type == "code_inline"]


def links(page: str) -> list[tuple[int, str]]:
    """(line of its paragraph, target) of each link and picture."""
    named = {"link_open": "href", "image": "src"}
    return [(line, str(child.attrs[named[child.type]])) for line, child in _inline(page) if child.type in named]


def anchors(page: str) -> set[str]:
    """What `page#…` may name: the headings, as GitHub calls them."""
    found: list[str] = []
    for before, token in zip(tokens(page), tokens(page)[1:], strict=False):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
            found.append(name if name not in found else f"{name}-{found.count(name)}")
    return set(found)


def markdown_files() -> list[str]:
    """Every page of the project, the ones that are not executed too."""
    folders = ("", "docs", "weights", "scripts")
    return [path.relative_to(ROOT).as_posix() for folder in folders for path in sorted((ROOT / folder).glob("*.md"))]


def exists(page: str, target: str) -> bool:
    """Whether a relative link leads somewhere."""
    name, _, anchor = target.partition("#")
    path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
    if not path.exists() or not anchor:
        return path.exists()
    return path.suffix == ".md" and anchor in anchors(Path(path).relative_to(ROOT).as_posix())

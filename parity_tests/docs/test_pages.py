"""Every block of README.md and docs/*.md is run, in the order of its page, in a folder that has what the pages name."""

from pathlib import Path

import pytest
from support import documents
from support.documented import Page
from support.documented_folder import Surroundings
from support.documents import PAGES, Block, MarkError, blocks, parse_mark
from support.shown_output import agree

BLOCKS = [block for page in PAGES for block in blocks(page)]
MOST_NOT_RUN = 0.25  # of the blocks that are no output; 2026-11-26: see the test's message for which


def _parameter(block: Block):
    return pytest.param(block, id=block.place, marks=[pytest.mark.full] if block.mark("full") else [])


@pytest.fixture(scope="module")
def surroundings(store, tmp_path_factory):
    found = Surroundings(store, tmp_path_factory.mktemp("catalog"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page_of(surroundings, tmp_path_factory):
    """`page_of(name)`: the page, in a folder of its own, as the blocks before have left it."""
    opened: dict[str, Page] = {}

    def page(name: str) -> Page:
        if name not in opened:
            opened[name] = surroundings.page(tmp_path_factory.mktemp("page") / Path(name).stem)
        return opened[name]

    yield page
    for page in opened.values():
        page.close()


@pytest.mark.parametrize("block", [_parameter(block) for block in BLOCKS])
def test_a_block_does_what_its_page_says(block, page_of):
    page_of(block.page).run(block)


def test_few_blocks_are_not_run():
    counted = [block for block in BLOCKS if not block.is_output]
    spared = [f"{block.place}: {block.mark(*documents.NOT_RUN)}" for block in counted if not block.is_run]
    assert len(counted) > 20
    assert len(spared) <= MOST_NOT_RUN * len(counted), "\n".join(spared)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("passed, because", "unknown word 'passed'; allowed: output"),
        ("parsed", "'parsed' needs a reason"),
        ("exit, it differs", "'exit' takes a value"),
        ("server on 80", "'server' takes none"),
    ],
)
def test_a_mark_that_nobody_can_follow_is_refused(text, said):
    with pytest.raises(MarkError, match=said):
        parse_mark(text)
    with pytest.raises(MarkError, match=f"page.md:1: {said}"):
        blocks("page.md", f"<!-- docs: {text} -->\n\n    u2zoo list\n")


def test_a_mark_belongs_to_the_block_right_after_it():
    fenced = "<!-- docs: full, long -->\n<!-- docs: with --size 64 -->\n```sh\nu2zoo list\n```\n\n    u2zoo formats\n"
    first, second = blocks("page.md", fenced)
    assert ([mark.word for mark in first.marks], second.marks) == (["full", "with"], ())
    with pytest.raises(MarkError, match="no block follows"):
        blocks("page.md", "<!-- docs: output -->\n\nA sentence.\n\n    u2zoo list\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("    u2zoo mask nobody.jpg -o mask.png\n", "ends with 2: error: nobody.jpg"),
        ("```python\nassert 1 == 2, 'no'\n```\n", "no"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Got:"),
        ("```cobol\nSTOP RUN.\n```\n", "nothing runs 'cobol'"),
        ("```swift\nlet mask = = 1\n```\n", "no Swift"),
        ("<!-- docs: parsed, it takes long -->\n\n    u2zoo train --bogus\n", "No such option: --bogus"),
        ("<!-- docs: exit 1, it is wrong -->\n\n    u2zoo formats\n", "nothing ended with 1"),
        ("```console\n$ u2zoo --version\nu2zoo of another day\n```\n", "says"),
    ],
)
def test_what_is_untrue_is_seen(text, said, tmp_path):
    (block,) = blocks("page.md", text)
    page = Page(tmp_path, {})
    with pytest.raises(AssertionError, match=said):
        page.run(block)


SHOWN = "onnx         out/u2netp.onnx  4.6 MB  2.8 s  max|Δ| 3.4e-05 = 0.8x noise\nin all 4.3 s"


def test_figures_of_an_output_are_free_where_they_vary():
    assert agree(SHOWN, "onnx  out/u2netp.onnx  4.4 MB  12 s  max|Δ| 1e-06 = 1.1x noise\n\nin all       9.0 s\n")
    assert agree("off 1.2%  361 ms  192.7 MB", "off 1.3%  12 ms  1.1 GB")
    assert agree("4 masks, …\n…\nIoU 0.99", "4 masks, 2 of them grey\na\nb\nIoU 0.9915")
    assert agree("IoU 0.99", "IoU 0.5", figures=False)


def test_words_counts_and_sizes_of_an_output_are_not():
    for before, after in (("onnx  ", "onxn  "), ("4.6 MB", "9.2 MB"), ("4.6 MB", "4.6 kB"), ("in all", "in sum")):
        assert not agree(SHOWN, SHOWN.replace("  ", " ").replace(before.replace("  ", " "), after.replace("  ", " ")))
    assert not agree("4 masks", "5 masks")
    assert not agree("at 320x320", "at 512x320")
    assert not agree("IoU 0.99", "IoU 0.98")
    assert not agree(SHOWN, SHOWN.splitlines()[0])
    assert not agree(SHOWN, SHOWN.replace("\n", "\nsomething between\n"))
    assert agree("(16, 20), 9.2 MB", "(8, 20), 4.6 kB", figures=False)

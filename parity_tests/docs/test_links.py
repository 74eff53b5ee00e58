"""The pages lead where they say: links, anchors, files, options and variables that they name."""

import re

import pytest
from support import documents
from support.argument_checks import known_options, programs_option, shaped_like_a_command, unknown_in
from support.data import ROOT

PAGES = documents.PAGES
# Folders of the clone: a code span that begins so is a path.
FOLDERS = ("scripts/", "docs/", "parity_tests/", "u2net_zoo/", "converters/", "weights/", ".github/")
# Of other programs, on a page that maps them to ours.
OTHERS_OPTIONS = {
    "docs/from-rembg.md": {
        "--accept-usage-cost", "--alpha-matting", "--alpha-matting-background-threshold", "--alpha-matting-erode-size",
        "--alpha-matting-foreground-threshold", "--bgcolor", "--decontaminate", "--delete_input", "--log_level",
        "--no-ui", "--only-mask", "--output_specifier", "--post-process-mask", "--threads", "--vitmatte", "--watch",
    },
}  # fmt: skip
PLACEHOLDER = re.compile(r"NAME|\bX_|\*|…|<|\{")


@pytest.mark.parametrize("page", documents.markdown_files())
def test_every_relative_link_and_anchor_exists(page):
    targets = [target for _, target in documents.links(page) if "://" not in target]
    assert [target for target in targets if not documents.exists(page, target)] == []


def test_a_link_to_nowhere_is_seen():
    assert documents.exists("README.md", "docs/architecture.md#the-rooms")
    assert not documents.exists("README.md", "docs/architecture.md#the-room")
    assert not documents.exists("README.md", "docs/architect.md")
    assert "what-computes" in documents.anchors("docs/browser.md")


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_paths_of_the_clone_exist(page):
    named = [(line, span.split()[0].split("::")[0]) for line, span in documents.spans(page) if span.startswith(FOLDERS)]
    # A path that says no suffix is a module's or a folder's.
    wrong = [(line, path) for line, path in named if not PLACEHOLDER.search(path) and not (ROOT / path).exists()]
    assert wrong == []


# rembg's own options stand in the tables of docs/from-rembg.md.
@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/from-rembg.md"])
def test_options_that_the_text_names_are_options(page):
    others = OTHERS_OPTIONS.get(page, set())
    text = [(line, span) for line, span in documents.spans(page) if span.startswith("--")]
    text = [(line, span) for line, span in text if programs_option(span) not in others]
    unknown = [(line, span) for line, span in text if programs_option(span) not in known_options()]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_the_text_are_parsed(page):
    named = [(line, span) for line, span in documents.spans(page) if shaped_like_a_command(span)]
    assert {f"{page}:{line}: {span}": found for line, span in named if (found := unknown_in(span))} == {}


def test_an_unknown_option_or_command_within_the_text_is_seen():
    assert unknown_in("u2zoo mask --threshold … --postproces") == "mask has no option --postproces"
    assert unknown_in("u2zoo masks") == "u2zoo has no command masks"
    assert unknown_in("scripts/bench_convert.py --too onnx") == "scripts/bench_convert.py has no option --too"
    assert unknown_in("make tests") == "make has no target tests"
    assert unknown_in("u2zoo tools remove onnx2tf") == ""


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_environment_variables_that_the_text_names_are_read(page):
    code = "".join(path.read_text("utf-8") for top in ("u2net_zoo", "converters", "parity_tests") for path in
                   (ROOT / top).rglob("*.py"))  # fmt: skip
    named = {name for _, span in documents.spans(page) for name in re.findall(r"\bU2ZOO_\w+", span)}
    assert {name for name in named if name not in code} == set()

"""The examples that end each command's help do what they say."""

import pytest
from support.commands import called
from support.examples import LONG, PARSED, commands, fill, lines_of, words_of

from converters import sample_images
from u2net_zoo.apps import APPLICATIONS

ALL = dict(commands())
LINES = [(name, line) for name, command in ALL.items() for line in lines_of(command)]
NAMED = {line: name for name, line in LINES}
RUN = [pytest.param(line, marks=[pytest.mark.full] * (line in LONG)) for line in NAMED if line not in PARSED]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_examples_that_fit_a_terminal(name):
    lines = lines_of(ALL[name])
    assert 2 <= len(lines) <= 4
    for line in lines:
        assert line.startswith(f"u2zoo {name}")
        assert len(line) <= 78, line  # with its indent a terminal has 80 columns
    told = [line for line in ALL[name].epilog.splitlines() if line.startswith("  # ")]
    assert len(told) == len(set(told)) == len(lines)
    assert all(len(line) <= 80 for line in told), told


def test_what_is_not_run_is_an_example():
    assert {*PARSED, *LONG} <= set(NAMED)


def test_examples_of_applications_stand_in_their_records():
    assert all(lines_of(ALL[name]) == list(kind.examples.values()) for name, kind in APPLICATIONS.items())


@pytest.mark.parametrize("line", NAMED)
def test_its_own_command_understands_an_example(line):
    words, *_ = words_of(line)
    name = NAMED[line]
    rest = words[len(name.split()) :]
    command = ALL[name]
    if hasattr(command, "list_commands") and rest:  # `tools make` in the page of `tools`
        command, rest = ALL[f"{name} {rest[0]}"], rest[1:]
    command.make_context(name, rest)  # raises where an option or a value is wrong


@pytest.fixture(scope="module")
def folder(tmp_path_factory, nano_made):
    pytest.importorskip("av", reason="needs the extra video")
    folder = tmp_path_factory.mktemp("examples")
    photographs = {name: sample_images.bundled("chelsea") for name in ("cat", "beach")}
    fill(folder, nano_made.one("onnx").path, photographs)
    return folder


@pytest.mark.parametrize("line", RUN)
def test_an_example_runs(line, folder, monkeypatch):
    words, source, target = words_of(line)
    given = (folder / source).read_bytes() if source else ""
    before = written(folder)
    done = called(*words, cwd=folder, input=given)
    assert done.returncode == 0, done.stderr
    if target:
        assert ("PNG" in done.stdout[:8]) if target.endswith(".png") else len(done.stdout) > 1280 * 720
    for out in [words[at + 1] for at, word in enumerate(words) if word == "-o" and words[at + 1] != "-"]:
        assert (folder / out).exists(), f"{out}; there is {sorted(written(folder) - before)}"


def written(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}

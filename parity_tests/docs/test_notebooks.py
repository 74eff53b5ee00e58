"""The notebooks run from top to bottom, and what they show is what the committed files show."""

import copy
import re

import pytest
from support import notebooks
from support.notebooks import LARGEST, NOTEBOOKS, code_cells, differences, digest, executed, near, read, shown

PRIVATE = re.compile(r"(?<![\w.])(?:/(?:home|root|work|Users)/|/tmp/\w|[A-Z]:\\\\)")
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_both_notebooks_are_here():
    assert {path.stem for path in NOTEBOOKS} >= {"background_removal", "convert_and_prove"}


@each
def test_the_outputs_are_those_of_the_code_run_once_in_order(path):
    notebook = read(path)
    assert [cell["execution_count"] for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert notebook["metadata"]["code"] == digest(notebook), "run scripts/renew_docs.py on it"


@each
def test_pictures_and_figures_are_shown_and_no_error(path):
    kinds = [kind for cell in code_cells(read(path)) for kind, _ in shown(cell)]
    assert kinds.count("image/jpeg") + kinds.count("image/png") >= 1
    assert kinds.count("stream") >= 3
    assert "error" not in kinds


@each
def test_the_file_is_small_and_names_no_machine(path):
    content = path.read_bytes()
    assert len(content) <= LARGEST
    assert PRIVATE.search(content.decode("utf-8")) is None
    assert "stderr" not in {output.get("name") for cell in code_cells(read(path)) for output in cell["outputs"]}


@each
def test_nothing_is_installed_where_the_project_is(path):
    install = notebooks.text(code_cells(read(path))[0]["source"])
    run: list = []
    exec(compile(install.replace("subprocess.run", "run.append"), path.name, "exec"), {"run": run})  # noqa: S102 - ours
    assert run == []
    assert '"constraints.txt"' in install


@pytest.mark.full
@each
def test_a_notebook_shows_the_same_when_it_is_run_anew(path, tmp_path):
    assert differences(read(path), executed(path, tmp_path)) == []


def test_another_picture_word_count_or_figure_is_a_difference():
    notebook = read(NOTEBOOKS[0])
    assert differences(notebook, notebook) == []
    for edit in (lambda cell: cell["outputs"].clear(), lambda cell: cell["outputs"][0].update(text=["else\n"])):
        changed = copy.deepcopy(notebook)
        edit(next(cell for cell in code_cells(changed) if any(kind == "stream" for kind, _ in shown(cell))))
        assert len(differences(notebook, changed)) == 1
    assert near("error 1.2e-06, IoU 0.999, 12 ms", "error 4.0e-06, IoU 0.985, 80 ms")
    assert not near("error 1.2e-06", "error 1.3e-05")
    assert not near("IoU 0.999", "IoU 0.93")

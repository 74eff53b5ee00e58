"""A result gets its name in one step: it is renamed, so that nobody ever sees half of it, nor a mixture of two."""

from pathlib import Path

import pytest

from u2net_zoo.files import staged, staged_in


def written(path: Path, folder: bool, text: str = "new") -> int:
    """A file or a folder of one file there; the number by which the disk knows it."""
    if folder:
        path.mkdir()
        (path / "inside").write_text(text)
    else:
        path.write_text(text)
    return path.stat().st_ino


@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "one before"])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_was_written_is_renamed_not_copied(tmp_path, folder, before):
    target = tmp_path / "result"
    old = written(target, folder, "old") if before else None
    with staged(target) as path:
        number = written(path, folder)
        assert target.exists() is before
    assert target.stat().st_ino == number != old
    assert [item.name for item in tmp_path.iterdir()] == ["result"]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    target = tmp_path / "result"
    target.write_text("old old old")
    with target.open() as reader:
        with staged(target) as path:
            path.write_text("new")
        assert reader.read() == "old old old"
    assert target.read_text() == "new"


def test_one_of_many_results_is_renamed_too(tmp_path):
    (tmp_path / "room").mkdir()
    with staged_in(tmp_path / "room", tmp_path / "out" / "a.png") as path:
        number = written(path, folder=False)
    assert (tmp_path / "out" / "a.png").stat().st_ino == number
    assert list((tmp_path / "room").iterdir()) == []

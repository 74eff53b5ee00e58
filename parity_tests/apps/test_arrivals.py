"""Which files of a watched folder are new and whole: the rules of `u2zoo watch`, by a clock that the test moves."""

import os
from pathlib import Path

import pytest

from u2net_zoo.apps.batch.arrivals import PATIENCE, Arrivals, Names
from u2net_zoo.apps.batch.jobs import photographs_of
from u2net_zoo.apps.batch.journal import journal
from u2net_zoo.apps.batch.watched import _is_told
from u2net_zoo.apps.batch.work import Outcome
from u2net_zoo.apps.crop import Crop
from u2net_zoo.apps.cutout import Cutout


class Folder:
    """A folder with its arrivals and their clock."""

    def __init__(self, folder: Path, *, application=None, done=lambda job: False, recursive=False):
        self.folder, self.now = folder / "in", 0.0
        self.folder.mkdir(exist_ok=True)
        names = Names(str(folder / "out"), application or Cutout(), {})
        self.arrivals = Arrivals(
            str(self.folder), names, recursive=recursive, settle=1.0, done=done, clock=lambda: self.now
        )

    def write(self, name: str, content: bytes = b"x") -> None:
        """The file; its time is the clock's, so that two writes never have one."""
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (self.now, self.now))

    def at(self, now: float, *, look: bool = True) -> list[str]:
        """What is due then."""
        self.now = now
        if look:
            self.arrivals.look()
        self.jobs = self.arrivals.due()
        return [job.name for job in self.jobs]


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def test_a_file_is_due_when_it_has_stayed_the_same(folder):
    folder.write("a.jpg")
    assert folder.at(0) == []
    assert folder.arrivals.next() == 1.0
    assert folder.at(0.9, look=False) == []
    assert folder.at(1.0, look=False) == ["a.jpg"]


def test_a_file_that_grows_is_not_due_however_long_it_takes(folder):
    for n in range(20):
        folder.now = 0.9 * n
        folder.write("a.jpg", b"x" * (n + 1))
        assert folder.at(0.9 * n, look=n % 3 == 0) == []
    assert folder.at(0.9 * 19 + 0.99) == []
    assert folder.at(0.9 * 19 + 1.0) == ["a.jpg"]


def test_a_file_of_one_size_that_is_written_again_is_not_due(folder):
    """As Windows copies: the size is there from the start."""
    folder.write("a.jpg", b"0000")
    folder.at(0)
    folder.now = 0.5
    folder.write("a.jpg", b"1111")
    assert folder.at(1.2, look=False) == []
    assert folder.at(2.2, look=False) == ["a.jpg"]


def test_what_is_done_is_not_due_until_it_changes(folder):
    folder.write("a.jpg")
    folder.at(0)
    folder.at(1)
    assert folder.arrivals.finish(folder.jobs[0])
    assert folder.at(50) == []
    assert folder.arrivals.next() is None
    folder.write("a.jpg", b"another")
    folder.at(51)
    assert folder.at(52) == ["a.jpg"]


def test_what_changes_while_it_is_worked_on_comes_again(folder):
    folder.write("a.jpg")
    folder.at(0)
    folder.at(1)
    job = folder.jobs[0]
    folder.write("a.jpg", b"more of it")
    assert not folder.arrivals.finish(job)
    assert folder.at(1.5) == []
    assert folder.at(2.5) == ["a.jpg"]


def test_what_is_moved_away_while_it_is_worked_on_is_finished(folder):
    folder.write("a.jpg", b"four")
    folder.at(0)
    folder.at(1)
    (folder.folder / "a.jpg").unlink()
    assert folder.arrivals.finish(folder.jobs[0]) == [4, 0]
    assert folder.arrivals.next() is None
    assert folder.at(2) == []
    folder.write("a.jpg", b"another")
    folder.at(3)
    assert folder.at(4) == ["a.jpg"]


@pytest.mark.parametrize("later", [None, b"replaced"], ids=["moved away", "replaced"])
def test_the_journal_keeps_of_what_a_result_was_made(folder, later, tmp_path):
    """Whatever stands there when the line is written."""
    folder.write("a.jpg", b"four")
    folder.at(0)
    folder.at(1)
    (job,) = folder.jobs
    made_of = folder.arrivals.finish(job)
    (folder.folder / "a.jpg").unlink()
    if later:
        folder.write("a.jpg", later)
    with journal(tmp_path / "out", {}, resume=True) as book:
        book.add(job, Outcome(0, (1, 1)), made_of)
    with journal(tmp_path / "out", {}, resume=True) as book:
        assert book.finished[job.photograph]["stamp"] == [4, 0]
        assert book.outcome(0, job) is None


def test_a_result_is_told_though_its_photograph_is_gone(folder, tmp_path):
    folder.write("a.jpg")
    folder.at(0)
    folder.at(1)
    (job,) = folder.jobs
    (folder.folder / "a.jpg").unlink()
    with journal(tmp_path / "out", {}, resume=True) as book:
        assert _is_told(folder.arrivals, book, job, Outcome(0, (1, 1)))
    with journal(tmp_path / "out", {}, resume=True) as book:
        assert book.finished[job.photograph]["stamp"] == [1, 0]


def test_what_was_done_before_the_start_is_not_due(tmp_path):
    folder = Folder(tmp_path, done=lambda job: job.name == "a.jpg")
    folder.write("a.jpg")
    folder.write("b.jpg")
    folder.at(0)
    assert folder.at(1) == ["b.jpg"]
    folder.write("a.jpg", b"replaced")
    folder.at(2)
    assert "a.jpg" in folder.at(3)


def test_what_cannot_be_decoded_is_tried_again_for_a_while_and_then_said_once(folder):
    folder.write("a.jpg")
    folder.at(0)
    said, tries, now = [], 0, 1.0
    while now < 60:
        if folder.at(now):
            tries += 1
            said.append(folder.arrivals.fail(folder.jobs[0]))
        now += 0.25
    assert said == [False] * (tries - 1) + [True]
    assert 4 <= tries <= 8
    assert folder.arrivals.next() is None


def test_what_becomes_whole_while_it_is_tried_is_done(folder):
    folder.write("a.jpg", b"half")
    folder.at(0)
    folder.at(1)
    assert not folder.arrivals.fail(folder.jobs[0])
    folder.write("a.jpg", b"whole now")
    folder.at(PATIENCE + 5)
    folder.at(PATIENCE + 6)
    assert not folder.arrivals.fail(folder.jobs[0])  # its time begins anew
    assert folder.arrivals.next() is not None


def test_what_is_gone_is_forgotten(folder):
    folder.write("a.jpg")
    folder.at(0)
    (folder.folder / "a.jpg").unlink()
    assert folder.at(1, look=False) == []
    assert folder.arrivals.next() is None
    folder.write("b.jpg")
    folder.at(2)
    folder.at(3)
    job = folder.jobs[0]
    (folder.folder / "b.jpg").unlink()
    assert not folder.arrivals.fail(job)


def test_results_and_what_is_no_photograph_are_not_looked_at(tmp_path):
    folder = Folder(tmp_path, recursive=True)
    folder.write("a.txt")
    folder.write(".hidden/a.jpg")
    folder.write("deep/a.jpg")
    folder.arrivals.names.out = str(folder.folder / "deep")
    folder.at(0)
    assert folder.at(1) == []


def test_folders_of_the_folder_are_looked_into_when_asked(tmp_path):
    folder = Folder(tmp_path, recursive=True)
    folder.write("deep/a.jpg")
    folder.at(0)
    assert folder.at(1) == ["deep/a.jpg"]
    assert folder.jobs[0].target == str(tmp_path / "out" / "deep" / "a.png")


def sources(folder: Path, *names: str):
    for name in names:
        (folder / name).touch()
    return {source.name: source for source in photographs_of(str(folder), str(folder / "out"), False)}


def test_a_results_name_stays_whatever_comes_later(tmp_path):
    found = sources(tmp_path, "a.jpg", "a.webp", "a.png")
    names = Names("out", Cutout(), {})
    targets = [Path(names.job(found[name]).target).name for name in ("a.jpg", "a.webp", "a.png", "a.jpg")]
    assert targets == ["a.png", "a.webp.png", "a.png.png", "a.png"]


def test_names_of_an_earlier_run_hold_and_are_not_given_away(tmp_path):
    found = sources(tmp_path, "a.jpg", "a.webp")
    names = Names("out", Cutout(), {found["a.webp"].photograph: os.path.join("out", "a.png")})
    assert Path(names.job(found["a.jpg"]).target).name == "a.jpg.png"
    assert Path(names.job(found["a.webp"]).target).name == "a.png"


def test_what_a_result_has_beside_it_counts(tmp_path):
    """crop writes NAME_mask.png as well."""
    found = sources(tmp_path, "a.jpg", "a_mask.jpg")
    names = Names("out", Crop(), {})
    assert Path(names.job(found["a.jpg"]).target).name == "a.png"
    assert Path(names.job(found["a_mask.jpg"]).target).name == "a_mask.jpg.png"

"""What a reference computed is computed once, whatever becomes of the folder where it is recorded."""

import io
import os

import numpy as np
import pytest
import torch
from support.networks import hard_checkpoint
from support.training import SHALLOW

from converters import convert
from converters.options import Options
from converters.parity import Reference, records
from converters.parity.float64 import Float64Network, Stopped
from converters.torch_predictor import TorchPredictor

SIZE = (32, 32)


@pytest.fixture(scope="module")
def network():
    return hard_checkpoint(SHALLOW)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "references"


@pytest.fixture
def computed(network, folder):
    reference = Reference(network, SIZE)
    reference.compute()
    assert len(list(folder.iterdir())) == 2
    return reference


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """Which of the two networks ran, since the test began."""
    ran: list[str] = []
    for kind in (Float64Network, TorchPredictor):
        compute = kind.compute

        def count(self, x, compute=compute, kind=kind):
            ran.append(kind.__name__)
            return compute(self, x)

        monkeypatch.setattr(kind, "compute", count)
    return ran


def same(one: Reference, other: Reference) -> bool:
    return one.noise == other.noise and all(np.array_equal(one.exact[name], other.exact[name]) for name in one.exact)


def test_nothing_is_computed_twice(network, computed, counted):
    again = Reference(network, SIZE)
    assert same(again, computed)
    assert (counted, again.seconds) == ([], 0.0)
    assert computed.seconds > 0


def test_other_weights_another_size_and_other_pictures_are_computed(network, computed, counted, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    other = hard_checkpoint(SHALLOW, seed=5)
    for reference in (Reference(other, SIZE), Reference(network, (32, 64)), Reference(network, SIZE, tmp_path)):
        counted.clear()
        reference.compute()
        assert counted.count("Float64Network") == 1
        assert counted.count("TorchPredictor") == 4


def test_another_processor_or_setting_has_noise_of_its_own(network, computed, counted, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    Reference(network, SIZE).compute()
    assert counted == ["TorchPredictor"] * 4
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setattr(records, "features", lambda: {"avx1024"})
    Reference(network, SIZE).compute()
    assert counted == ["TorchPredictor"] * 8


def test_other_code_has_records_of_its_own(network, computed, counted, monkeypatch):
    monkeypatch.setattr(records, "_digest", lambda file: "edited")
    Reference(network, SIZE).compute()
    assert set(counted) == {"Float64Network", "TorchPredictor"}


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE = {
    "one bit of the figures": lambda content: flipped(content, len(content) // 2),
    "one bit of the hash": lambda content: flipped(content, 0),
    "one bit of the end": lambda content: flipped(content, len(content) - 1),
    "the half": lambda content: content[: len(content) // 2],
    "nothing": lambda content: b"",
    "something else": lambda content: b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_costs_time_and_no_more(network, computed, folder, counted, damage):
    for file in folder.iterdir():
        file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert same(Reference(network, SIZE), computed)
    assert counted == ["Float64Network", *["TorchPredictor"] * 4]
    counted.clear()
    assert same(Reference(network, SIZE), computed)
    assert counted == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask": np.zeros((2, 1, 8, 8))},
        {"mask": np.zeros((2, 1, *SIZE))},
        {"mask": np.full((2, 1, *SIZE), np.nan), "side1": np.zeros((2, 1, *SIZE))},
        {"mask": np.zeros((2, 1, *SIZE), np.float32), "side1": np.zeros((2, 1, *SIZE))},
    ],
    ids=["another shape", "an output is missing", "NaN", "float32"],
)
def test_a_whole_record_of_something_else_is_not_taken(folder, wrong):
    records.kept("key", wrong)
    assert len(list(folder.iterdir())) == 1
    assert records.fetched("key", dict.fromkeys(("mask", "side1"), (2, 1, *SIZE))) is None


def test_a_record_with_a_pickle_in_it_is_not_opened(folder, tmp_path):
    import hashlib
    import io

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trap"), "w"))

    content = io.BytesIO()
    np.savez(content, mask=np.array([Trap()], dtype=object))
    folder.mkdir(parents=True)
    (folder / "key.npz").write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    assert records.fetched("key", {"mask": (1,)}) is None
    assert not (tmp_path / "trap").exists()


def test_where_nothing_can_be_written_everything_works(network, folder):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file where the folder should be")
    reference = Reference(network, SIZE)
    reference.compute()
    assert folder.parent.read_text() == "a file where the folder should be"


def test_a_full_disk_leaves_nothing_behind(network, folder, monkeypatch):
    from pathlib import Path

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    Reference(network, SIZE).compute()
    assert list(folder.iterdir()) == []


def test_the_records_that_were_not_asked_for_longest_go_first(folder, monkeypatch):
    one = {"mask": np.zeros((1, 1, 64, 64))}
    monkeypatch.setattr(records, "MOST", 100_000)  # three of 33 kB
    for number in range(3):
        records.kept(str(number), one)
        os.utime(folder / f"{number}.npz", (number, number))
    assert records.fetched("0", {"mask": (1, 1, 64, 64)}) is not None
    records.kept("3", one)
    assert {file.stem for file in folder.iterdir()} == {"0", "2", "3"}


def test_one_that_is_too_large_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(records, "LARGEST", 1000)
    records.kept("key", {"mask": np.zeros((1, 1, 64, 64))})
    assert not folder.exists()


@pytest.mark.parametrize("setting", ["matmul", "denormals"])
def test_noise_of_unusual_arithmetic_is_not_recorded(network, folder, setting):
    if setting == "denormals" and not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot take the numbers next to zero for it")
    try:
        if setting == "matmul":
            torch.set_float32_matmul_precision("medium")
        Reference(network, SIZE).compute()
        assert len(list(folder.iterdir())) == 1  # float64 alone
    finally:
        torch.set_flush_denormal(False)
        torch.set_float32_matmul_precision("highest")


def test_a_reference_in_float32_is_not_recorded(network, folder):
    Reference(network, SIZE, dtype="float32").compute()
    assert not folder.exists()


def test_a_conversion_tells_where_its_time_went(network, tmp_path, counted):
    (first,) = convert(network, "pth", tmp_path, options=Options(size=SIZE))
    assert 0 < first.proof_seconds <= first.seconds
    assert first.reference_seconds > 0
    counted.clear()
    (second,) = convert(network, "pth", tmp_path, options=Options(size=SIZE))
    assert second.reference_seconds == 0
    assert "Float64Network" not in counted
    assert {"seconds", "proof_seconds", "reference_seconds"} <= set(second.to_json())


def test_who_asks_while_it_is_computed_waits_for_it(network, counted):
    reference = Reference(network, SIZE)
    done: list[bool] = []
    with reference.beside(lambda: done.append(True)):
        exact, noise = reference.exact, reference.noise
    assert counted == ["Float64Network", *["TorchPredictor"] * 4]
    assert same(Reference(network, SIZE), reference)
    assert set(noise) == set(exact)


def test_it_is_given_up_between_the_pictures_of_the_noise_floor(network, counted, monkeypatch):
    """Ctrl-C waits for one picture at most, not for all four."""
    reference = Reference(network, SIZE)
    compute = TorchPredictor.compute

    def interrupted(self, x):
        reference._unwanted.set()
        return compute(self, x)

    monkeypatch.setattr(TorchPredictor, "compute", interrupted)
    with pytest.raises(Stopped):
        _ = reference.noise
    assert counted == ["Float64Network", "TorchPredictor"]


def test_a_record_holds_what_it_says_and_no_more(computed, folder):
    """NumPy 1.26 would store a keyword that it does not know as an array."""
    names = []
    for file in folder.iterdir():
        with np.load(io.BytesIO(file.read_bytes()[records.DIGEST :]), allow_pickle=False) as found:
            names.append(set(found.files))
    assert names == [set(computed.exact)] * 2


def test_a_block_that_fails_gives_the_computation_up(network, counted):
    reference = Reference(network, (256, 256))
    with pytest.raises(KeyboardInterrupt), reference.beside():
        raise KeyboardInterrupt
    assert reference._noise is None

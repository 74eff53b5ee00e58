"""Weights in a runtime that was named: converted and proved once, opened from the cache from then on."""

import json

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint

import converters
from u2net_zoo import Session

RUNTIMES = ("onnx", pytest.param("ncnn", marks=pytest.mark.full), pytest.param("torchscript", marks=pytest.mark.full))


@pytest.fixture
def source(home, tmp_path):
    path = tmp_path / "tiny.safetensors"
    converters.convert(hard_checkpoint(TINY), "safetensors", tmp_path / "made")[0].path.rename(path)
    return path


@pytest.fixture
def conversions(monkeypatch):
    """The names of formats that were converted to."""
    seen: list[str] = []
    real = converters.convert

    def counted(checkpoint, formats, *rest, **options):
        seen.extend(formats)
        return real(checkpoint, formats, *rest, **options)

    monkeypatch.setattr(converters, "convert", counted)
    return seen


def answer(source, runtime: str) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((1, 3, 320, 320)).astype(np.float32)
    return Session(source, runtime=runtime).answer(x)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_second_start_converts_nothing(runtime, source, conversions):
    first = answer(source, runtime)
    assert np.array_equal(answer(source, runtime), first)
    assert conversions == [runtime]


def test_other_weights_are_converted(source, conversions):
    answer(source, "onnx")
    other = source.with_name("other.safetensors")
    converters.convert(hard_checkpoint(TINY, seed=5), "safetensors", source.parent / "again")[0].path.rename(other)
    conversions.clear()
    answer(other, "onnx")
    assert conversions == ["onnx"]


@pytest.mark.parametrize("damage", ["file", "record", "elsewhere"])
def test_a_damaged_cache_costs_a_conversion_and_no_result(damage, source, home, conversions):
    first = answer(source, "onnx")
    (record,) = (home / "engines" / "asked").iterdir()
    (kept,) = (home / "engines" / "networks").rglob("*.onnx")
    if damage == "file":
        kept.write_bytes(kept.read_bytes()[:-100])
    elif damage == "record":
        record.write_text("{")
    else:
        record.write_text(json.dumps({**json.loads(record.read_text()), "file": f"../../{kept.name}"}))
    assert np.array_equal(answer(source, "onnx"), first)
    assert conversions == ["onnx"] * (1 if damage == "elsewhere" else 2)  # a name that leaves the folder is cut down


def test_where_nothing_can_be_kept_it_is_converted_each_time(source, home, conversions):
    home.mkdir(exist_ok=True)
    (home / "engines").write_text("in the way")
    assert np.array_equal(answer(source, "onnx"), answer(source, "onnx"))
    assert conversions == ["onnx"] * 2

"""One session, one predictor, many threads: each call is answered as if it came alone, whatever runs the file."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from PIL import Image
from support.artifacts import ALL, WEIGHTS_ALONE
from support.other_makers import half_tflite

from converters import FORMATS, Options
from converters.isolated import open_isolated
from u2net_zoo import Session

THREADS = 8
WHOLE = Options(size=(64, 64), outputs="all")
KERAS = ("keras", "h5")  # take ten seconds for the calls of one test


def pictures() -> list[Image.Image]:
    """64x64 in blocks of colours, no two alike."""
    blocks = np.random.default_rng(0).integers(0, 256, (THREADS, 4, 4, 3), np.uint8)
    return [Image.fromarray(pixels) for pixels in blocks.repeat(16, axis=1).repeat(16, axis=2)]


def tensors(count: int = THREADS) -> list[np.ndarray]:
    return list(np.random.default_rng(0).standard_normal((count, 1, 3, 64, 64)).astype(np.float32))


def in_threads(call, inputs: list) -> list:
    """What `call` returns for each of the inputs; as many as there are threads begin at the same moment."""
    start = Barrier(THREADS)

    def begun(x):
        start.wait(60)
        return np.asarray(call(x), float)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begun, inputs))


def check(call, inputs: list, rounds: int = 1) -> None:
    alone = [np.asarray(call(x), float) for x in inputs]
    for n, right in enumerate(alone[1:]):
        assert not np.array_equal(alone[n], right)  # a mix-up would be seen
    for right, found in zip(alone * rounds, in_threads(call, inputs * rounds), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full if name in KERAS else ()) for name in ALL if name not in WEIGHTS_ALONE],
)
def test_every_mask_is_the_one_that_the_session_gives_alone(name, made):
    check(Session(made.one(name, WHOLE).path).mask, pictures())


def test_weights_in_torch(small):
    check(Session(small).mask, pictures())


def test_predictors_that_are_called_directly(made):
    predictor = FORMATS["tflite"].run(made.one("tflite", WHOLE).path)
    check(lambda x: predictor(x)["mask"], tensors())


def test_a_tflite_file_without_signatures(small, tmp_path):
    predictor = FORMATS["tflite"].run(half_tflite(small, tmp_path / "foreign.tflite", (64, 64)))
    check(lambda x: predictor(x)[predictor.outputs[0]], tensors())


def test_a_runtime_in_a_process_of_its_own(small_file):
    with open_isolated(small_file) as predictor:
        check(lambda x: predictor(x)["mask"], tensors())


def test_lanes_are_worked_on_at_the_same_time(made, monkeypatch):
    """onnxruntime's: the second call is inside before the first is done."""
    predictor, both = FORMATS["onnx"].run(made.one("onnx", WHOLE).path), Barrier(2)
    assert predictor.share(2) == 2
    compute = predictor.compute

    def meeting(x):
        both.wait(60)
        return compute(x)

    monkeypatch.setattr(predictor, "compute", meeting)
    with ThreadPoolExecutor(2) as threads:
        assert len(list(threads.map(predictor, tensors(2)))) == 2

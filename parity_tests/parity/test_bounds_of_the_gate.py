"""Where the gate draws its line: at three times float32's own noise, and at every size that a file takes."""

import numpy as np
import pytest
from support.networks import hard_checkpoint
from support.training import SHALLOW

from converters import FORMATS, Options, convert
from converters.parity import Reference, compare
from converters.predictor import Predictor
from u2net_zoo.errors import ParityError


class Claims(Predictor):
    """A predictor that answers as told."""

    def __init__(self, answers):
        self.answers = answers
        self.outputs = tuple(answers(np.zeros((1, 3, 64, 64), np.float32)))

    def compute(self, x):
        return self.answers(x)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(hard_checkpoint(SHALLOW), (64, 64))


@pytest.mark.parametrize("output", ["mask", "side3"])
@pytest.mark.parametrize(("times", "ok"), [(2.9, True), (10, False)])
def test_ten_times_float32s_noise_is_too_much_and_three_times_is_not(reference, output, times, ok):
    """At one pixel of one output. Beside the noise 1e-6 is allowed."""
    noise = reference.noise[output]
    assert 1e-7 < noise < 1e-5

    def answers(x):
        found = {name: value[: len(x)].copy() for name, value in reference.exact.items()}
        found[output][0, 0, 5, 5] += times * noise + 1e-6
        return found

    report = compare(Claims(answers), reference)
    assert report.ok is ok
    assert report.worst.name == output


class Elsewhere:
    """Makes Core ML's writer write nothing, and its runtime answer rightly at 64x64 and at 64x96 alone."""

    def __init__(self, monkeypatch, reference: Reference):
        single = reference.single

        def answers(x):
            right = x.shape[2:] in ((64, 64), (64, 96))
            return {"mask": single(x)["mask"] if right else np.roll(single(x)["mask"], 9, axis=3)}

        coreml = type(FORMATS["coreml"])
        monkeypatch.setattr(coreml, "write", lambda fmt, checkpoint, path, options: path.mkdir())
        monkeypatch.setattr(coreml, "proofs", lambda fmt, path: iter([Claims(answers)]))


@pytest.mark.parametrize(
    ("sizes", "where"),
    [
        ({"sizes": ((64, 64), (64, 96), (96, 96))}, "96x96"),
        ({"span": ((64, 64), (128, 96))}, "128x64"),
    ],
    ids=["list", "range"],
)
def test_a_file_that_is_wrong_at_a_further_size_alone_is_not_kept(monkeypatch, tmp_path, reference, sizes, where):
    """Of a range every corner is tried: low, wide, high, and both."""
    Elsewhere(monkeypatch, reference)
    options = Options(size=(64, 64), io="tensor", precision="fp32", **sizes)
    with pytest.raises(ParityError, match=rf"coreml: not kept: .*; at {where} IoU 0\.\d+ .*needed: IoU 0\.999"):
        convert(reference.checkpoint, "coreml", tmp_path, options=options)
    assert list(tmp_path.iterdir()) == []

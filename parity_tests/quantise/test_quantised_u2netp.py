"""The authors' u2netp in fewer bits, on the photographs that they published masks of: the figures of the docs."""

import pytest
from support.data import published

from converters import FORMATS, Options
from converters.mask_errors import MaskErrors
from converters.parity import in_batches
from converters.torch_predictor import TorchPredictor
from u2net_zoo.photographs import read_image
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.reading import read_checkpoint

SIZE = (320, 320)
MEASURED = [
    (name, precision)
    for name in ("coreml", "tflite", "onnx", "mnn", "executorch")
    for precision in FORMATS[name].bounds
]


@pytest.fixture(scope="module")
def pictures():
    return [PROFILES["paper"].tensor(read_image(photo), SIZE) for photo, _ in published("u2netp")]


@pytest.fixture(scope="module")
def masks(pictures, real_weights):
    single = TorchPredictor(read_checkpoint(real_weights))
    return [single(x)["mask"][0] for x in pictures]


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "precision"), MEASURED)
def test_masks_of_photographs_that_no_search_saw_stay_within_the_bound(real_made, pictures, masks, name, precision):
    artifact = real_made.one(name, Options(SIZE, io="tensor", precision=precision))
    predictor = FORMATS[name].run(artifact.path)
    pairs = [(in_batches(predictor, x)["mask"][0], mask) for x, mask in zip(pictures, masks, strict=True)]
    assert len(pairs) == 18
    bound = FORMATS[name].bounds[precision]
    found = MaskErrors.of(pairs)
    assert found.within(bound), found.summary(bound)

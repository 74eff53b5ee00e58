"""The Torch model as exporters trace it: sizes become constants, and whole factors where both sides allow."""

import pytest
import torch
from support.networks import hard_checkpoint
from support.training import SHALLOW

from u2net_zoo import torch_model


@pytest.mark.filterwarnings("ignore")  # of every size that is a constant, which is the aim
@pytest.mark.parametrize("size", [(64, 38), (38, 64)], ids=str)
def test_a_traced_model_answers_as_the_model_itself_where_one_side_alone_is_halved_exactly(size: tuple[int, int]):
    """38 becomes 19 and 10."""
    model = torch_model.build(hard_checkpoint(SHALLOW))
    x = torch.randn(1, 3, *size, generator=torch.manual_seed(0))
    with torch.inference_mode():
        traced = torch.jit.trace(model, torch.zeros_like(x), check_trace=False)
        for ours, wanted in zip(traced(x), model(x), strict=True):
            torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)

"""What a run begins with: the losses, fresh weights, and weights that were folded."""

import numpy as np
import pytest
import torch
from support.data import NANO
from support.training import SIDE, TINY, trainer

from u2net_zoo.arch import BN_EPS, U2NET_NANO
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import build, state_of
from u2net_zoo.train.losses import deep_bce, distillation
from u2net_zoo.train.norms import calibrate, prepare
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.start import fresh, lacks_statistics


def test_the_loss_is_the_sum_of_the_seven_mean_cross_entropies():
    rng = np.random.default_rng(0)
    logits = [torch.from_numpy(rng.normal(0, 2, (2, 1, 5, 7))) for _ in range(7)]
    mask = torch.from_numpy((rng.random((2, 1, 5, 7)) > 0.5).astype(float))
    by_hand = sum(
        -(mask * torch.log(torch.sigmoid(d)) + (1 - mask) * torch.log(1 - torch.sigmoid(d))).mean() for d in logits
    )
    assert float(deep_bce(logits, mask.float())) == pytest.approx(float(by_hand), rel=1e-6)
    assert float(deep_bce([torch.zeros(1, 1, 2, 2)] * 7, torch.ones(1, 1, 2, 2))) == pytest.approx(7 * np.log(2))


def test_distillation_is_smallest_at_the_teachers_own_answer():
    logits = [torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(7)]
    teacher = [torch.sigmoid(d) for d in logits]
    entropy = sum(-(t * t.log() + (1 - t) * (1 - t).log()).mean() for t in teacher)
    assert float(distillation(logits, teacher)) == pytest.approx(float(entropy), rel=1e-5)
    assert float(distillation([d + 0.3 for d in logits], teacher)) > float(entropy)


def test_fresh_weights_are_torchs_own_distribution_and_follow_from_the_seed():
    state, again = fresh(U2NET_NANO, 3).state, fresh(U2NET_NANO, 3).state
    kernel = state["stage1.rebnconvin.conv_s1.weight"]
    assert abs(kernel).max() <= 27**-0.5
    assert kernel.std() == pytest.approx(27**-0.5 / 3**0.5, rel=0.1)
    assert all(np.array_equal(value, again[key]) for key, value in state.items())
    assert not np.array_equal(kernel, fresh(U2NET_NANO, 4).state["stage1.rebnconvin.conv_s1.weight"])


@pytest.fixture
def bundled() -> Checkpoint:
    return read_checkpoint(NANO).fold().unfold()


@pytest.fixture
def published(real_weights) -> Checkpoint:
    return read_checkpoint(real_weights)


@pytest.mark.parametrize("weights", ["bundled", "published"])
def test_finetuning_folded_weights_keeps_their_function_and_gives_them_live_norms(weights, eight, tmp_path, request):
    start = request.getfixturevalue(weights)
    assert lacks_statistics(start)
    assert not lacks_statistics(fresh(TINY, 0))
    samples = trainer(eight, tmp_path, steps=1).train_samples
    run = trainer(eight, tmp_path, prepare(start, samples, Recipe(batch=4, size=SIDE, crop=SIDE)), steps=1)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = build(start)(x)[0], run.core.eval()(x)[0]
        trained = run.core.train()(x.repeat(4, 1, 1, 1) + 0.1 * torch.randn(4, 3, 64, 64))[0]
    assert abs(before - after).max() < 2e-3
    assert torch.isfinite(trained).all()
    assert not lacks_statistics(state_of(run.core))


def test_calibration_changes_no_answer(small):
    folded = small.fold().unfold()
    assert folded.state["stage1.rebnconvin.bn_s1.running_var"][0] == pytest.approx(1 - BN_EPS)
    model = build(folded, dtype=torch.float64)
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(x)
        calibrate(model, [x])
        assert max(float(abs(a - b).max()) for a, b in zip(before, model(x), strict=True)) < 1e-6
        norm = model.stage1.rebnconvin.bn_s1
        inputs = model.stage1.rebnconvin.conv_s1(x)
    assert torch.allclose(inputs.mean((0, 2, 3)), norm.running_mean, atol=1e-6)
    assert torch.allclose(inputs.var((0, 2, 3), unbiased=False), norm.running_var, rtol=1e-3)

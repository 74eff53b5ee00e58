"""The Torch model against the authors' own code in float64; the full-size networks have a file of their own."""

import hashlib

import numpy as np
import pytest
import torch
from support.data import DATA, needs
from support.goldens import FLOAT32, recorded
from support.networks import SMALL, hard_checkpoint

from u2net_zoo import torch_model
from u2net_zoo.arch import U2NETP, two_level
from u2net_zoo.checkpoint import Checkpoint


def run(model, x, dtype=torch.float32):
    with torch.inference_mode():
        return [m.numpy() for m in model(torch.from_numpy(x).to(dtype))]


@pytest.mark.parametrize("i", [0, 1, 2], ids=["96x128", "65x47 batch 2", "320x320"])
def test_float64_gives_the_authors_figures(i: int):
    """The authors' were kept as float32, the project's (sides at 320x320) as they are."""
    golden = recorded("u2netp")
    for name, expected in golden.outputs(i).items():
        assert expected.error(golden.exact(i)[name]) <= (FLOAT32 if expected.by == "authors" else 1e-9), name


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("i", [0, 1, 2], ids=["96x128", "65x47 batch 2", "320x320"])
def test_float32_stays_at_the_noise_floor(i: int, folded: bool):
    golden = recorded("u2netp")
    model = torch_model.build(golden.checkpoint)
    model = torch_model.fold(model) if folded else model
    results = dict(zip(golden.arch.outputs, run(model, golden.input(i)), strict=True))
    assert golden.beyond(i, results) == {}


def test_real_weights_give_the_authors_outputs():
    file = np.load(needs(DATA / "goldens" / "u2netp_real.npz"))
    state = torch.load(needs(DATA / "weights" / "u2netp.pth"), weights_only=True)
    model = torch_model.U2Net(U2NETP)
    model.load_state_dict(state, strict=True)
    results = run(model.double().eval(), file["input0"], torch.float64)
    for j, result in enumerate(results):
        np.testing.assert_allclose(result, file[f"d{j}_0"], rtol=0, atol=3.1e-8)


KEYS_SHA256 = "f99af05c80de405f070f6121038dd239bb5c21bcb441bffa0a9efcae29dd550e"  # of u2netp.pth, one a line


def test_the_state_dict_has_the_authors_keys_in_the_authors_order():
    keys = "\n".join(torch_model.U2Net(U2NETP).state_dict())
    assert hashlib.sha256(keys.encode()).hexdigest() == KEYS_SHA256


def test_the_authors_keys_are_those_of_their_file():
    keys = "\n".join(torch.load(needs(DATA / "weights" / "u2netp.pth"), weights_only=True))
    assert hashlib.sha256(keys.encode()).hexdigest() == KEYS_SHA256


def test_training_mode_returns_every_output_and_gradients_reach_every_tensor():
    model = torch_model.build(hard_checkpoint(SMALL), outputs="mask").train()
    outputs = model(torch.randn(2, 3, 64, 64, generator=torch.manual_seed(0)))
    assert len(outputs) == 7
    sum(d.mean() for d in outputs).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "bias" not in n)


def test_evaluation_may_return_the_mask_alone():
    checkpoint = hard_checkpoint(SMALL)
    x = np.random.default_rng(0).standard_normal((1, 3, 33, 70)).astype(np.float32)
    everything = run(torch_model.build(checkpoint), x)
    with torch.inference_mode():
        mask = torch_model.build(checkpoint, outputs="mask")(torch.from_numpy(x))
    np.testing.assert_array_equal(mask.numpy(), everything[0])


def test_several_classes_are_logits():
    arch = two_level("classes", *[[(k, 4, 8) for k in kinds] for kinds in (KINDS, KINDS_UP)], out_ch=4, final="none")
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    outputs = run(torch_model.build(hard_checkpoint(arch)), x)
    assert outputs[0].shape == (1, 4, 64, 64)
    assert outputs[0].min() < 0 or outputs[0].max() > 1


KINDS = ("7", "6", "5", "4", "4F", "4F")
KINDS_UP = ("4F", "4", "5", "6", "7")


def test_a_block_runs_by_itself():
    model = torch_model.build(hard_checkpoint(SMALL))
    assert model.stage1(torch.zeros(1, 3, 31, 40)).shape == (1, 8, 31, 40)


def test_folding_leaves_the_model_alone():
    model = torch_model.build(hard_checkpoint(SMALL))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert not any("bn_s1" in key for key in torch_model.fold(model).state_dict())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-13), (torch.float16, 0.03), (torch.bfloat16, 0.1)])
def test_folding_keeps_the_models_float_type(dtype: torch.dtype, near: float):
    """Measured 2026-11-21: 4e-15, 0.011 and 0.049 apart; folding float64 through float32 would be 1e-6 apart."""
    model = torch_model.build(hard_checkpoint(SMALL), dtype=dtype)
    folded = torch_model.fold(model)
    assert {value.dtype for value in folded.parameters()} == {dtype}
    x = torch.randn(1, 3, 64, 64, generator=torch.manual_seed(0)).to(dtype)
    with torch.inference_mode():
        assert float((folded(x)[0].double() - model(x)[0].double()).abs().max()) < near


def test_folding_the_model_is_folding_its_checkpoint():
    checkpoint = hard_checkpoint(SMALL)
    ours = torch_model.state_of(torch_model.fold(torch_model.build(checkpoint))).state
    assert all(ours[key].tobytes() == value.tobytes() for key, value in checkpoint.fold().state.items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_model_of_any_float_type_has_a_checkpoint(dtype: torch.dtype):
    state = torch_model.state_of(torch_model.build(hard_checkpoint(SMALL), dtype=dtype)).state
    expected = torch.from_numpy(hard_checkpoint(SMALL).state["outconv.weight"]).to(dtype).float().numpy()
    np.testing.assert_array_equal(state["outconv.weight"], expected)


def test_state_of_is_the_inverse_of_build():
    checkpoint = hard_checkpoint(SMALL)
    back = torch_model.state_of(torch_model.build(checkpoint))
    assert isinstance(back, Checkpoint)
    assert all(back.state[key].tobytes() == value.tobytes() for key, value in checkpoint.state.items())

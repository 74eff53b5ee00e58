"""Weight files: every container, any widths, no code executed, one clear line for what does not fit."""

import contextlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.networks import SMALL, hard_checkpoint
from support.training import SHALLOW

from u2net_zoo.arch import U2NETP, two_level
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import CheckpointError, InputError
from u2net_zoo.identify import identify
from u2net_zoo.reading import read_checkpoint


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return hard_checkpoint(SMALL)


@pytest.fixture(scope="module")
def tensors(checkpoint):
    return {key: torch.from_numpy(value.copy()) for key, value in checkpoint.full_state().items()}


def same(a: Checkpoint, b: Checkpoint) -> bool:
    return a.arch == b.arch and all(a.state[key].tobytes() == b.state[key].tobytes() for key in b.state)


WRAPPINGS = {
    "bare": lambda state: state,
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "training": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"step": torch.zeros(1)}}}},
    "Lightning": lambda state: {
        "state_dict": {**{f"net.{key}": v for key, v in state.items()}, "loss.weight": torch.ones(1)}
    },
    "deep": lambda state: {"run": {"model": {f"module.{key}": value for key, value in state.items()}}},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_torch_files_of_every_kind(tmp_path, checkpoint, tensors, wrapping: str, zipped: bool):
    path = tmp_path / "weights.pth"
    torch.save(WRAPPINGS[wrapping](tensors), path, _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(path), checkpoint)


def test_the_authors_file_is_read(real_weights):
    assert not zipfile.is_zipfile(real_weights)
    assert read_checkpoint(real_weights).arch == U2NETP


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, tensors, dtype):
    torch.save({key: v.to(dtype) if v.is_floating_point() else v for key, v in tensors.items()}, tmp_path / "w.pth")
    state = read_checkpoint(tmp_path / "w.pth").state
    assert {v.dtype for k, v in state.items() if "tracked" not in k} == {np.dtype(np.float32)}


@settings(max_examples=15, deadline=None)
@given(
    mids=st.lists(st.integers(1, 7), min_size=11, max_size=11),
    outs=st.lists(st.integers(1, 7), min_size=11, max_size=11),
    classes=st.integers(1, 4),
    folded=st.booleans(),
)
def test_the_architecture_follows_from_the_shapes_alone(mids, outs, classes: int, folded: bool):
    kinds = ("7", "6", "5", "4", "4F", "4F", "4F", "4", "5", "6", "7")
    stages = list(zip(kinds, mids, outs, strict=True))
    final = "sigmoid" if classes == 1 else "none"
    arch = two_level("any", stages[:6], stages[6:], out_ch=classes, final=final)
    checkpoint = hard_checkpoint(arch)
    assert (checkpoint.fold() if folded else checkpoint).arch == (arch.fold() if folded else arch)


def test_a_state_dict_beside_deep_settings_is_found(tmp_path, checkpoint, tensors):
    deep = {"a": {"b": {"c": {"d": {"e": {"f": torch.zeros(2)}}}}}}
    torch.save({"hyper_parameters": deep, "state_dict": tensors}, tmp_path / "w.pth")
    assert same(read_checkpoint(tmp_path / "w.pth"), checkpoint)


@pytest.mark.parametrize("nested", [True, False])
def test_two_networks_in_a_file_are_not_chosen_between(tmp_path, tensors, nested: bool):
    both = {"model": tensors, "ema": tensors}
    flat = {f"{name}.{key}": value for name, state in both.items() for key, value in state.items()}
    torch.save(both if nested else flat, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"holds 2 networks \(ema, model\); say which: .*--key"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("folded", [False, True])
def test_a_published_network_has_its_name(folded: bool):
    shapes = (U2NETP.fold() if folded else U2NETP).state_shapes()
    assert identify(shapes).name == "u2netp"


def test_bfloat16_safetensors_are_read(tmp_path, checkpoint, tensors):
    from safetensors.torch import save_file

    save_file({k: v.bfloat16() if v.is_floating_point() else v for k, v in tensors.items()}, tmp_path / "w.safetensors")
    state = read_checkpoint(tmp_path / "w.safetensors").state
    np.testing.assert_allclose(state["side1.bias"], checkpoint.state["side1.bias"], rtol=2**-8)


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, tensors, zipped: bool):
    trap = tmp_path / "trap"
    torch.save({**tensors, "x": Payload(str(trap))}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Payload(str(trap))))
    for name in ("w.pth", "plain.pth"):
        with pytest.raises(CheckpointError, match=r"refused|not a Torch file"):
            read_checkpoint(tmp_path / name)
    assert not trap.exists()


def broken(state, change):
    state = {key: value.copy() for key, value in state.items()}
    change(state)
    return state


FAULTS = {
    "another network": (lambda s: [s.clear(), s.update({"layer1.0.conv1.weight": np.ones((2, 2))})], "layer1.0.conv1"),
    "missing": (lambda s: s.pop("stage3.rebnconv2.bn_s1.bias"), "1 missing .stage3.rebnconv2.bn_s1.bias."),
    "unexpected": (lambda s: s.update({"head.fc.weight": np.ones(3, np.float32)}), "1 unexpected .head.fc.weight."),
    "wrong shape": (
        lambda s: s.update({"side2.weight": np.ones((1, 9, 3, 3), np.float32)}),
        r"side2.weight: expected \(1, 8, 3, 3\) for .*got \(1, 9, 3, 3\)",
    ),
    "NaN": (lambda s: s["stage2.rebnconv1.conv_s1.weight"].__setitem__(0, np.nan), "stage2.rebnconv1.*NaN"),
    "negative variance": (lambda s: s["stage2.rebnconv1.bn_s1.running_var"].__setitem__(0, -1), "variance is negative"),
    "a scalar side": (lambda s: s.update({"side1.weight": np.float32(1)}), "side1.weight: expected a 4-D kernel"),
    "no side": (lambda s: s.pop("side1.weight"), "not a U²-Net: without side1.weight; it has"),
    "integers": (lambda s: s.update({"side1.bias": np.ones(1, np.int64)}), "side1.bias: expected floating-point"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(checkpoint, fault: str):
    change, message = FAULTS[fault]
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.from_state(broken(checkpoint.full_state(), change))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_truncated_file_is_one_clear_error(tmp_path, tensors, name: str):
    from safetensors.torch import save_file

    path = tmp_path / name
    (torch.save if name.endswith("pth") else save_file)(tensors, path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_flipped_bit_is_an_error_or_a_network(tmp_path, name: str, place: float, bit: int):
    """Of few tensors, so that the file is more of names and sizes, and is read quickly."""
    from safetensors.torch import save_file

    path = tmp_path / name
    if not path.exists():
        tensors = {key: torch.from_numpy(v.copy()) for key, v in hard_checkpoint(SHALLOW).full_state().items()}
        (torch.save if name.endswith("pth") else save_file)(tensors, path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    flipped = tmp_path / f"flipped{path.suffix}"
    flipped.write_bytes(content)
    with contextlib.suppress(InputError):
        assert np.isfinite(read_checkpoint(flipped).state["outconv.bias"]).all()


@pytest.mark.parametrize("name", ["missing.pth", "picture.jpg", ""])
def test_a_file_that_is_none_is_named(tmp_path, name: str):
    (tmp_path / "picture.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no such file|cannot read weights|is a folder"):
        read_checkpoint(tmp_path / name)

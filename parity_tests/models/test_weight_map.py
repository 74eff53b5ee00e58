"""The map between Torch and Keras names is bijective, and says what does not fit."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import ARCHS, SMALL, hard_checkpoint

from u2net_zoo.arch import two_level
from u2net_zoo.errors import CheckpointError
from u2net_zoo.weight_map import from_keras, rows, to_keras

widths = st.integers(1, 9)


@settings(max_examples=25, deadline=None)
@given(mid=widths, out=widths, classes=st.integers(1, 5), folded=st.booleans())
def test_every_tensor_is_mapped_once_at_any_width(mid: int, out: int, classes: int, folded: bool):
    arch = two_level(
        "any",
        [(kind, mid, out) for kind in ("7", "6", "5", "4", "4F", "4F")],
        [(kind, mid, out) for kind in ("4F", "4", "5", "6", "7")],
        out_ch=classes,
    )
    arch = arch.fold() if folded else arch
    table = rows(arch)
    keys = {key for key in arch.state_shapes() if not key.endswith("num_batches_tracked")}
    assert {row.key for row in table} == keys
    assert len({(row.layer, row.variable) for row in table}) == len(table) == len(keys)


@pytest.mark.parametrize("arch", [*ARCHS.values(), SMALL], ids=lambda arch: arch.name)
def test_there_and_back_is_the_identity(arch):
    """Every value occurs once in its tensor: no transpose can hide."""
    state = {key: np.arange(prod(shape), dtype=np.float32).reshape(shape) for key, shape in arch.state_shapes().items()}
    keras = to_keras(arch, state)
    back = from_keras(arch, lambda layer, variable: keras[layer, variable])
    assert set(back) == {key for key in state if not key.endswith("num_batches_tracked")}
    for key, array in back.items():
        np.testing.assert_array_equal(array, state[key], err_msg=key)


def test_a_wrong_shape_names_tensor_expected_and_actual():
    checkpoint = hard_checkpoint(SMALL)
    keras = to_keras(SMALL, checkpoint.state)
    keras["stage3_rebnconv2_conv_s1", "kernel"] = np.zeros((3, 3, 4, 5), np.float32)
    with pytest.raises(CheckpointError) as caught:
        from_keras(SMALL, lambda layer, variable: keras[layer, variable])
    assert str(caught.value) == (
        "stage3.rebnconv2.conv_s1.weight: expected (3, 3, 4, 4) after OIHW->HWIO, got (3, 3, 4, 5)"
    )

"""Weights of few bits in Core AI's assets: packed, as Apple's runtime takes them, and read back to what was rounded."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint

from converters import FORMATS, Options
from converters.coreai import Asset
from converters.coreai.interpreter import Interpreter
from converters.formats.coreai_export import write_asset
from converters.formats.coreai_runtime import by_apple
from converters.formats.coreai_weights import table_of
from converters.quantise.rounding import BITS, rounded

pytest.importorskip("coreai_torch", reason="needs Core AI's tools: Linux on x86-64, or macOS 26")

SIZE = (32, 48)
SMALLEST = 256  # weights
SCHEMES = [name if name in ("palette4", "int8") else pytest.param(name, marks=pytest.mark.full) for name in BITS]


def planned(scheme: str) -> SimpleNamespace:
    """A plan that rounds every kernel of some size, without a search."""
    folded = hard_checkpoint(TINY).fold()
    paths = {unit.path: f"{unit.conv_path}.weight" for unit in folded.arch.units()}
    chosen = {path: key for path, key in paths.items() if folded.state[key].size >= SMALLEST}
    state = {key: rounded(value, scheme) if key in chosen.values() else value for key, value in folded.state.items()}
    return SimpleNamespace(checkpoint=replace(folded, state=state), scheme=scheme, rounded=frozenset(chosen))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_of_few_bits_are_what_was_rounded(scheme, tmp_path):
    plan, path = planned(scheme), tmp_path / "few.aimodel"
    options = FORMATS["coreai"].settle(Options(size=SIZE, precision=scheme, outputs="mask"))
    write_asset(plan.checkpoint, path, options, plan)
    asset, x = Asset.open(path), np.random.default_rng(1).standard_normal((1, 3, *SIZE)).astype(np.float32)
    kinds = [operation.kind for operation in asset.function.operations]
    kind = "blockwise_shift_scale_v2" if scheme == "int8" else "lut_to_dense_v1"
    assert kinds.count(kind) == len(plan.rounded) > 5
    back = FORMATS["coreai"].read(path).state
    for unit in plan.checkpoint.arch.units():
        if unit.path in plan.rounded:
            key = f"{unit.conv_path}.weight"
            stored = plan.checkpoint.state[key].astype(np.float16)  # a code times its scale is a number of float16
            np.testing.assert_array_equal(back[key], stored.astype(np.float32))
    found, theirs = Interpreter(asset).evaluate({"image": x})["mask"], by_apple(path, "main", {"image": x})["mask"]
    assert np.abs(found - theirs).max() < 0.02  # float16, summed in another order


def test_a_table_has_the_fewest_bits_that_will_do():
    kernel = np.array([0.5, -1.0, 0.25, 0.5, -1.0], np.float32).reshape(5, 1, 1, 1)
    indices, table = table_of(kernel)
    assert table.shape == (1, 1, 1, 1, 4, 1)
    np.testing.assert_array_equal(table.reshape(-1)[indices.reshape(-1)], kernel.reshape(-1))

"""Core AI's assets with another activation than ReLU, however its converter writes it, are no U²-Net."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.data import TESTS
from support.networks import TINY, hard_checkpoint
from torch import nn

from converters.coreai import Asset
from converters.coreai.functions import Function, Operation, Value, ValueType
from converters.formats import coreai_reader
from converters.loading import read_source
from converters.mil.dtypes import BY_NAME
from u2net_zoo import torch_model
from u2net_zoo.errors import NotANetworkError

SIDE = 32
SAYS = r"not a U²-Net: {} behind stage1\.rebnconvin and \d+ more, where ReLU is expected"
# What stands in ReLU's place, in Core AI's operations: each takes `x`, or the number of an earlier one, and a number.
CORE_AI = {
    "a maximum": ([("maximum", "x", 0.0)], ""),
    "an end of float16": ([("maximum", "x", 0.0), ("minimum", 0, 65504.0)], ""),
    "ends in another order": ([("minimum", "x", 3e38), ("maximum", 0, 0.0)], ""),
    "ReLU6": ([("maximum", "x", 0.0), ("minimum", 0, 6.0)], r"Clamp\(0, 6\)"),
    "ReLU, then its end": ([("relu", "x"), ("minimum", 0, 6.0)], r"Clamp\(0, 6\)"),
    "LeakyReLU": ([("maximum", "x", 0.0), ("minimum", "x", 0.0), ("mul", 1, 0.01), ("add", 0, 2)], r"Clamp\(-inf, 0\)"),
    "PReLU of one slope": ([("mul", "x", 0.1), ("maximum", "x", 0)], "broadcasting_maximum"),
    "Softplus": ([("mul", "x", 1.0), ("exp", 0), ("add", 1, 1.0), ("log", 2)], "exp"),
    "SiLU": ([("sigmoid", "x"), ("mul", "x", 0)], "sigmoid"),
    "a function that is called": ([("invoke", "x")], "hard_sigmoid_x"),
    "nothing": ([("add", "x", 0.0)], "(pad|max_pool_2d)"),
    "ReLU, then a product": ([("relu", "x"), ("mul", 0, 2.0)], "broadcasting_mul"),
}
UNARY = ("relu", "exp", "log", "sigmoid", "invoke")


def core_ai_asset(steps) -> Asset:
    """An asset of Apple's converter with `steps` in place of each ReLU."""
    asset = Asset.open(TESTS / "goldens" / "tiny.aimodel")
    free, operations = 1_000_000, []
    for each in asset.function.operations:
        if each.kind != "relu_v1":
            operations.append(each)
            continue
        made: list[int] = []
        for n, (kind, *taken) in enumerate(steps):
            operands = []
            for value in taken:
                if isinstance(value, float):
                    literal = {"value": (False, np.float32(value).tobytes())}
                    kind_of_one = ValueType(BY_NAME["fp32"], ())
                    operations.append(Operation("constant_v1", (), literal, (Value(free, kind_of_one),)))
                    operands.append(free)
                    free += 1
                else:
                    operands.append(each.operands[0] if value == "x" else made[value])
            result = each.results[0] if n == len(steps) - 1 else replace(each.results[0], number=free)
            made.append(result.number)
            free += 1
            words = {"callee": "hard_sigmoid_x"} if kind == "invoke" else {}
            name = f"{kind}_v1" if kind in UNARY else f"broadcasting_{kind}_v1"
            operations.append(Operation(name, tuple(operands), words, (result,)))
    function = asset.function
    return Asset(asset.path, Function(function.name, function.inputs, function.outputs, tuple(operations)), {})


@pytest.mark.parametrize("name", CORE_AI)
def test_only_relu_in_its_forms_is_read(name, monkeypatch):
    steps, kind = CORE_AI[name]
    asset = core_ai_asset(steps)
    monkeypatch.setattr(Asset, "open", lambda path: asset)
    if not kind:
        assert coreai_reader.read(asset.path).arch.blocks
        return
    with pytest.raises(NotANetworkError, match=SAYS.format(kind)):
        coreai_reader.read(asset.path)


def changed(activation: type[nn.Module]) -> nn.Module:
    """The Torch module with another activation behind each convolution of a block."""
    model = torch_model.build(hard_checkpoint(TINY).fold()).eval()
    for name, _ in list(model.named_modules()):
        if name.endswith("relu_s1"):
            model.get_submodule(name.rpartition(".")[0]).relu_s1 = activation()
    return model


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        ("ReLU6", r"Clamp\(0, 6\)"),
        ("LeakyReLU", r"Clamp\(-inf, 0\)"),
        ("Hardswish", r"hard_sigmoid\w*"),
        ("Softplus", "broadcasting_greater"),
        ("SiLU", "silu"),
        ("ReLU", ""),
    ],
)
def test_assets_of_apple_s_converter(tmp_path, activation, kind):
    coreai_torch = pytest.importorskip("coreai_torch", reason="needs Core AI's tools: Linux on x86-64, or macOS 26")
    program = torch.export.export(changed(getattr(nn, activation)), (torch.zeros(1, 3, SIDE, SIDE),))
    converter = coreai_torch.TorchConverter()
    converter.add_exported_program(program.run_decompositions(coreai_torch.get_decomp_table()))
    converter.to_coreai().save_asset(tmp_path / "other.aimodel")
    if not kind:
        assert read_source(tmp_path / "other.aimodel").fold().arch.blocks == hard_checkpoint(TINY).fold().arch.blocks
        return
    with pytest.raises(NotANetworkError, match=SAYS.format(kind)):
        read_source(tmp_path / "other.aimodel")

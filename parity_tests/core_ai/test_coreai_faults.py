"""Faults in assets of Core AI are found and named: what other people's conversions get wrong, in real files."""

import hashlib
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import TINY, hard_checkpoint
from support.opening import Here
from torch import nn

from converters import FORMATS, Options, convert
from converters.coreai.asset import HASH, PROGRAM
from converters.verify import Verifier
from converters.verify.faulty_network import FaultyNetwork, FaultyOps
from u2net_zoo import torch_model
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ParityError
from u2net_zoo.preprocessing import PROFILES

pytest.importorskip("coreai_torch", reason="needs Core AI's tools: Linux on x86-64, or macOS 26")

SIZE = (37, 51)  # odd, so rounding down in a pooling shows
FAULTS = {
    "align_corners=True": FaultyNetwork(resize="corners"),
    "sizes rounded down (ceil_mode=False)": FaultyNetwork(pool="floor"),
    "missing dilation": FaultyNetwork(dilation=False),
}
QUICK = ("align_corners=True",)
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in FAULTS]


@pytest.fixture(scope="module")
def tiny():
    return hard_checkpoint(TINY)


@pytest.fixture(scope="module")
def verifier(tiny) -> Verifier:
    return Verifier(tiny, PROFILES["paper"], {}, SIZE, opened=Here)


class _ByItsEdge(FaultyOps):
    """The first convolution is padded by its edge instead of by zeros."""

    def block(self, block, x):
        return block.run(_ByItsEdge(getattr(self.scope, block.path), self.rules), x)

    def conv(self, unit, x):
        if unit.path != "stage1.rebnconvin":
            return super().conv(unit, x)
        module = getattr(self.scope, unit.name)
        return module.relu_s1(
            nn.functional.conv2d(
                nn.functional.pad(x, (1, 1, 1, 1), "replicate"), module.conv_s1.weight, module.conv_s1.bias
            )
        )


def written(checkpoint, rules: FaultyNetwork, path: Path, ops=FaultyOps) -> Path:
    """An asset of a network with faults, as Apple's converter writes whatever it is given."""
    import coreai_torch

    class Faulty(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = torch_model.build(checkpoint.fold()).eval()

        def forward(self, x):
            return tuple(torch.sigmoid(each) for each in checkpoint.arch.run(ops(self.model, rules), x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.export.export(Faulty(), (torch.zeros(1, 3, *SIZE),))
        traced = traced.run_decompositions(coreai_torch.get_decomp_table())
        converter = coreai_torch.TorchConverter()
        converter.add_exported_program(traced, input_names=["x"], output_names=list(checkpoint.arch.outputs))
        converter.to_coreai().save_asset(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_fault_is_named(name, tiny, verifier, tmp_path):
    verdict = verifier.verify(written(tiny, FAULTS[name], tmp_path / "wrong.aimodel"))
    assert not verdict.ok
    assert verdict.diagnosis.explanation.name == name


@pytest.mark.full
def test_a_file_without_faults_is_right_and_read_back(tiny, verifier, tmp_path):
    """Written by the converter's own defaults, which this project does not take."""
    path = written(tiny, FaultyNetwork(), tmp_path / "right.aimodel")
    assert verifier.verify(path).ok
    back = FORMATS["coreai"].read(path)
    for key, value in tiny.fold().state.items():
        if key.endswith(("weight", "bias")) and "conv" in key:
            np.testing.assert_array_equal(back.fold().state[key], value)


@pytest.mark.full
def test_a_padding_that_is_none_of_ours_is_seen_in_its_unit(tiny, verifier, tmp_path):
    verdict = verifier.verify(written(tiny, FaultyNetwork(), tmp_path / "padded.aimodel", _ByItsEdge))
    assert not verdict.ok
    assert "stage1.rebnconvin" in str(verdict.to_json())


def test_swapped_constants_are_seen_in_their_unit(tiny, verifier, tmp_path):
    options = Options(size=SIZE, outputs="all")
    (artifact,) = convert(tiny, "coreai", tmp_path, name="tiny", options=options)
    state = tiny.fold().state
    first, second = (state[f"stage1.rebnconv{n}.conv_s1.weight"].tobytes() for n in (2, 3))
    target = Path(shutil.copytree(artifact.path, tmp_path / "swapped.aimodel"))
    content = (target / PROGRAM).read_bytes()
    assert (content.count(first), content.count(second)) == (1, 1)
    content = content.replace(first, b"?" * len(first)).replace(second, first).replace(b"?" * len(first), second)
    (target / PROGRAM).write_bytes(content)
    (target / HASH).write_bytes(hashlib.sha256(content).digest())
    assert verifier.verify(artifact.path).ok
    verdict = verifier.verify(target)
    assert not verdict.ok
    assert "stage1.rebnconv2" in str(verdict.to_json())


def test_what_overflows_in_float16_is_not_kept(tiny, tmp_path):
    first = "stage1.rebnconvin.bn_s1.weight"
    checkpoint = Checkpoint.from_state({**tiny.state, first: tiny.state[first] * np.float32(1e5)})
    with pytest.raises(ParityError, match="not kept"):
        convert(checkpoint, "coreai", tmp_path, name="loud", options=Options(size=SIZE, precision="fp16"))
    assert not list(tmp_path.glob("*.aimodel"))

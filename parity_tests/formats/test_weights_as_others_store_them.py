"""Weights in forms that this project does not write: zero points, a storage that tensors share, ncnn's batch norm."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.agreement import identical, largest_relative
from support.networks import hard_checkpoint
from support.training import SHALLOW

from converters import FORMATS, Options
from converters.formats.ncnn_reader import binary_of
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from u2net_zoo.checkpoint import Checkpoint

SIZE = (64, 64)
WHOLE = Options(size=SIZE, outputs="all")
ZERO = 100  # where a byte means 0


def in_bytes(model) -> int:
    """Every kernel becomes bytes with one scale and one zero point, behind a DequantizeLinear; how many there were."""
    from onnx import helper, numpy_helper

    graph, dequantised = model.graph, []
    kernels = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in kernels]:
        kernel, name = numpy_helper.to_array(tensor), tensor.name
        scale = np.float32(max(kernel.max() / (255 - ZERO), -kernel.min() / ZERO))
        codes = np.rint(kernel / scale + ZERO).clip(0, 255).astype(np.uint8)
        parts = {"codes": codes, "scale": scale, "zero": np.uint8(ZERO)}
        graph.initializer.extend(numpy_helper.from_array(np.asarray(v), f"{name}.{k}") for k, v in parts.items())
        graph.initializer.remove(tensor)
        dequantised.append(helper.make_node("DequantizeLinear", [f"{name}.{part}" for part in parts], [name]))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*dequantised, *rest])
    return len(dequantised)


def test_bytes_with_a_zero_point_are_dequantised(small, made, tmp_path):
    """As onnxruntime's quantiser writes kernels of uint8: what the graph answers, the weights that are read answer."""
    import onnx

    model = onnx.load(made.one("onnx", WHOLE).path)
    assert in_bytes(model) == len(small.arch.units())
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "bytes.onnx")
    found = read_source(tmp_path / "bytes.onnx")
    assert 1e-3 < largest_relative(found, small) < 2e-2
    same_answers(tmp_path / "bytes.onnx", "onnx", found)


def same_answers(path: Path, name: str, checkpoint: Checkpoint) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    theirs, ours = FORMATS[name].run(path)(x), TorchPredictor(checkpoint)(x)
    assert set(theirs) == set(ours)
    for output, value in theirs.items():
        np.testing.assert_allclose(value, ours[output], rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore")  # of tracing
def test_torchscripts_tensors_may_share_one_storage(tmp_path):
    """Of every parameter, as optimisers that flatten them leave it."""
    import torch

    from u2net_zoo import torch_model

    checkpoint = hard_checkpoint(SHALLOW)
    model = torch_model.build(checkpoint)
    flat, place = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]), 0
    for parameter in model.parameters():
        parameter.data = flat[place : place + parameter.numel()].view(parameter.shape)
        place += parameter.numel()
    torch.jit.trace(model, torch.zeros(1, 3, 32, 32), check_trace=False).save(str(tmp_path / "shared.pt"))
    storages = {p.untyped_storage().data_ptr() for p in torch.jit.load(str(tmp_path / "shared.pt")).parameters()}
    assert len(storages) == 1
    assert identical(read_source(tmp_path / "shared.pt"), checkpoint)


class WithNorms:
    """A pair of ours with the norms that its kernels were folded with, as layers of their own."""

    def __init__(self, small: Checkpoint, pair: Path):
        self.small, self.pair = small, pair
        self.units = {unit.path: unit for unit in small.arch.units()}

    def write(self, target: Path) -> Path:
        lines = self.pair.read_text().splitlines()
        layers = [layer for line in lines[2:] for layer in self._layers(line)]
        blobs = {blob for line in layers for blob in self._made(line)}
        target.write_text("\n".join([lines[0], f"{len(layers)} {len(blobs)}", *layers, ""]))
        paths = [line.split()[1] for line in layers if line.startswith("Convolution ")]
        binary_of(target).write_bytes(b"".join(self._weights(path) for path in paths))
        return target

    def _made(self, line: str) -> list[str]:
        _, _, ins, outs, *rest = line.split()
        return rest[int(ins) : int(ins) + int(outs)]

    def _layers(self, line: str) -> Iterator[str]:
        kind, path, *_, activation = line.split()
        if kind != "Convolution" or activation != "9=1":
            yield line
            return
        conv, norm, width = f"{path}/conv", f"{path}/norm", self.units[path].out_ch
        fields = line.removesuffix(" 9=1").split()
        fields[5] = conv
        yield " ".join(fields)
        yield f"BatchNorm {norm} 1 1 {conv} {norm} 0={width} 1=1e-5"
        yield f"ReLU {path}/relu 1 1 {norm} {path}"

    def _weights(self, path: str) -> bytes:
        unit, state = self.units[path], self.small.state
        parts = [state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias")]
        if unit.norm:  # slope, mean, variance, bias: ncnn's documentation of BatchNorm
            parts += [state[f"{unit.norm_path}.{leaf}"] for leaf in ("weight", "running_mean", "running_var", "bias")]
        return b"".join([np.uint32(0).tobytes(), *(part.tobytes() for part in parts)])


def test_batch_norm_in_ncnn_is_read(small, made, tmp_path):
    """Layers `BatchNorm` behind the convolutions, which ncnn's own optimiser has not fused; ncnn answers the same."""
    pair = WithNorms(small, made.one("ncnn", WHOLE).path / "model.ncnn.param").write(tmp_path / "norms.param")
    assert pair.read_text().count("BatchNorm ") == 112
    found = read_source(pair)
    assert largest_relative(found, small) <= 1e-6
    same_answers(pair, "ncnn", found)

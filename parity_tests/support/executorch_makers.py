"""A U²-Net of three stages that this project's modules did not build, as ExecuTorch's own tools write it.

    python executorch_makers.py weights.safetensors folder side

writes into the folder: `kernels.pte` (nothing is lowered, norms stand alone), `delegate.pte` (XNNPACK takes all of it),
`pieces.pte` (XNNPACK takes pieces), `outside/` (weights in a `.ptd`), `named/` (the delegate's weights in one) and
`int8.pte` (quantised by XNNPACKQuantizer).
"""

import sys
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class Step(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, apart: int = 1):
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=apart, dilation=apart)
        self.bn_s1 = nn.BatchNorm2d(outputs)
        self.relu_s1 = nn.ReLU()


def up(x, like):
    return F.interpolate(x, size=like.shape[2:], mode="bilinear")


class Block(nn.Module):
    """Of four levels; the lowest is dilated, or all are and nothing is pooled."""

    def __init__(self, inputs: int, middle: int, outputs: int, dilated: bool = False):
        super().__init__()
        steps = (1, 2, 4, 8) if dilated else (1, 1, 1, 2)
        self.dilated = dilated
        self.rebnconvin = Step(inputs, outputs)
        self.rebnconv1 = Step(outputs, middle)
        self.rebnconv2 = Step(middle, middle, steps[1])
        self.rebnconv3 = Step(middle, middle, steps[2])
        self.rebnconv4 = Step(middle, middle, steps[3])
        self.rebnconv3d = Step(2 * middle, middle, steps[2])
        self.rebnconv2d = Step(2 * middle, middle, steps[1])
        self.rebnconv1d = Step(2 * middle, outputs)

    def forward(self, x):
        half = (lambda y: y) if self.dilated else (lambda y: F.max_pool2d(y, 2, 2, ceil_mode=True))
        whole = self.rebnconvin(x)
        one = self.rebnconv1(whole)
        two = self.rebnconv2(half(one))
        three = self.rebnconv3(half(two))
        four = self.rebnconv4(three)
        back = self.rebnconv3d(torch.cat((four, three), 1))
        back = self.rebnconv2d(torch.cat((back if self.dilated else up(back, two), two), 1))
        back = self.rebnconv1d(torch.cat((back if self.dilated else up(back, one), one), 1))
        return back + whole


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage1, self.stage2, self.stage3 = Block(3, 4, 8), Block(8, 4, 8, True), Block(8, 4, 8, True)
        self.stage2d, self.stage1d = Block(16, 4, 8, True), Block(16, 4, 8)
        self.side1, self.side2, self.side3 = (nn.Conv2d(8, 1, 3, padding=1) for _ in range(3))
        self.outconv = nn.Conv2d(3, 1, 1)

    def forward(self, x):
        half = lambda y: F.max_pool2d(y, 2, 2, ceil_mode=True)  # noqa: E731
        one = self.stage1(x)
        two = self.stage2(half(one))
        three = self.stage3(half(two))
        second = self.stage2d(torch.cat((up(three, two), two), 1))
        first = self.stage1d(torch.cat((up(second, one), one), 1))
        sides = [self.side1(first), up(self.side2(second), first), up(self.side3(three), first)]
        fused = self.outconv(torch.cat(sides, 1))
        return tuple(torch.sigmoid(each) for each in (fused, *sides))


def main(weights: Path, folder: Path, side: int) -> None:
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes.external_constants_pass import delegate_external_constants_pass_unlifted
    from safetensors.torch import load_file
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    network = Network().eval()
    network.load_state_dict(load_file(weights))
    x = (torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)),)

    def lowered(module, partitioners, **config):
        edge = to_edge_transform_and_lower(torch.export.export(module, x), partitioner=partitioners)
        return edge.to_executorch(ExecutorchBackendConfig(**config))

    def pieces():
        left_out = ("MaxPool2dConfig",)
        configs = [each for each in ALL_PARTITIONER_CONFIGS if each.__name__ not in left_out]
        return [XnnpackPartitioner(configs=configs)]

    def write(name, program):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(program.buffer)
        if program._tensor_data:
            program.write_tensor_data_to_file(str(path.parent))

    write("delegate.pte", lowered(network, [XnnpackPartitioner()]))
    write("kernels.pte", lowered(network, []))
    write("pieces.pte", lowered(network, pieces()))
    write("outside/outside.pte", lowered(network, [], external_constants=True))
    module = torch.export.export(network, x).module()
    delegate_external_constants_pass_unlifted(module=module, gen_tag_fn=lambda node: "weights")
    write("named/named.pte", lowered(module, [XnnpackPartitioner()]))
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(network, x).module(), quantizer)
    prepared(*x)
    write("int8.pte", lowered(convert_pt2e(prepared), [XnnpackPartitioner()]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

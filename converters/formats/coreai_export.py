"""`--to coreai`: the asset that Apple's own converter, coreai-torch, writes of the folded Torch model.

The converter sees the network in float32 or float16; what goes in and comes out is float32 either way, or the pixels
of `--io image`. No path of this machine is written: the converter would name every file of code that it traced.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2net_zoo.checkpoint import Checkpoint

from ..embedded import embedded_of
from ..options import DEFAULT_SIZE, DYNAMIC, LARGEST_BATCH, Options, output_names
from ..progress import report
from ..quantise.mixed_precision import Plan
from .coreai_weights import compress
from .traced_torch import torch_module

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INPUT", "write_asset"]

INPUT = "image"


def write_asset(checkpoint: Checkpoint, path: Path, options: Options, plan: Plan | None = None) -> None:
    """The asset for settled options, with nothing in its metadata that is not the converter's own.

    Args:
        plan: which kernels of `checkpoint`, its own, are stored in few bits.
    """
    import torch

    with _quiet():
        import coreai_torch

        module = _module(checkpoint, options, plan)
        report("torch.export")
        traced = torch.export.export(
            module, (_sample(checkpoint, options),), dynamic_shapes=_shapes(checkpoint, options)
        )
        traced = traced.run_decompositions(coreai_torch.get_decomp_table())
        report("coreai-torch")
        # Its other mode writes where on this machine the code lies that was traced.
        converter = coreai_torch.TorchConverter(mode=coreai_torch.TorchConverter.Mode.RELEASE)
        names = list(output_names(checkpoint.arch, options))
        converter.add_exported_program(traced, input_names=[INPUT], output_names=names)
        converter.to_coreai().save_asset(path)


def _module(checkpoint: Checkpoint, options: Options, plan: Plan | None) -> "nn.Module":
    """The folded network in the precision of the file, between casts, and its profile around it for `--io image`."""
    from u2net_zoo import torch_model

    network = torch_model.build(checkpoint.fold(), outputs="all" if options.outputs == "all" else "mask")
    if plan:
        compress(network, plan)
    whole = network if options.precision == "fp32" else _half(network)
    embedded = embedded_of(checkpoint.arch, options)
    return torch_module(whole, embedded, eight_bits=True) if embedded else whole.eval()


def _half(network: "nn.Module") -> "nn.Module":
    """`network` in float16, taking and answering float32."""
    import torch
    from torch import nn

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.half()

        def forward(self, x: "torch.Tensor") -> Any:
            answer = self.network(x.half())
            return tuple(each.float() for each in answer) if isinstance(answer, tuple) else answer.float()

    return Half().eval()


def _sample(checkpoint: Checkpoint, options: Options) -> Any:
    import torch

    shape = (options.batch or 2, checkpoint.arch.in_ch, *(options.size or DEFAULT_SIZE))
    return torch.zeros(shape, dtype=torch.uint8 if options.io == "image" else torch.float32)


def _shapes(checkpoint: Checkpoint, options: Options) -> Any:
    """Which axes are of any size: multiples of the network's stride in a span, whatever the batch."""
    from torch.export import Dim

    axes: dict[int, Any] = {}
    if options.batch == DYNAMIC:
        axes[0] = Dim("batch", min=1, max=LARGEST_BATCH)
    if options.span:
        step = checkpoint.arch.stride
        for axis, (low, high) in enumerate(zip(*options.span, strict=True), start=2):
            axes[axis] = step * Dim(f"side{axis}", min=low // step, max=high // step)
    return (axes,) if axes else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the converter's greeting, its progress and its warnings of its own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

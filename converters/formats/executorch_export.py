"""`--via executorch`: the program that ExecuTorch's own exporter writes, which has to be one delegate.

It takes 35 s of a processor for u2netp and starts `flatc`, the compiler of tables that its package brings.
"""

import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ExportError

from ..options import DEFAULT_SIZE, Options
from ..progress import report
from .executorch_program import WORDS
from .traced_torch import exportable

__all__ = ["check_one_delegate", "exported"]


def exported(checkpoint: Checkpoint, options: Options, words: Mapping[str, str]) -> bytes:
    """The program for settled options.

    Raises:
        ExportError: XNNPACK takes only pieces of the network; says what it does not take.
    """
    import torch

    model = exportable(checkpoint, options)
    sample = torch.zeros(options.batch or 1, checkpoint.arch.in_ch, *(options.size or DEFAULT_SIZE))
    with _quiet():
        report("torch.export")
        program = torch.export.export(model, (sample,))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where on this machine the code lies that was traced
        return lowered(program, words)


def lowered(program: Any, words: Mapping[str, str]) -> bytes:
    """An exported program of Torch as a `.pte` file. Raises ExportError, see `exported`."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    report("lowering to XNNPACK")
    methods = {WORDS: json.dumps(dict(words))}
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()], constant_methods=methods)
    check_one_delegate(edge.exported_program().graph.nodes)
    return bytes(edge.to_executorch().buffer)


def check_one_delegate(nodes: Any) -> None:
    """Raises ExportError where a lowered graph is anything but one call of a delegate."""
    called = [str(node.target) for node in nodes if node.op == "call_function"]
    delegates = sum("executorch_call_delegate" in name for name in called)
    outside = Counter(name for name in called if "executorch_call_delegate" not in name and "getitem" not in name)
    if delegates != 1 or outside:
        listed = ", ".join(f"{count} x {name}" for name, count in sorted(outside.items()))
        raise ExportError(
            f"executorch: {delegates} delegates of XNNPACK; one is needed. Outside: {listed or 'nothing'}"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings of its own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

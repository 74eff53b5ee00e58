"""What runs in litert-torch's own environment: `state.npz` of a folder becomes `named.tflite` there.

That environment has no Torch, whose builds are large and differ by the graphics card: the one that is installed beside
this package is taken, and nothing else of what is there.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.identify import identify

__all__ = ["convert"]

BORROWED = ("torch", "torchgen", "functorch", "nvidia", "triton")  # Torch, and what its builds for graphics cards load
IDENTIFIER = b"TFL3"


class _Borrowed:
    """Finds the packages `BORROWED` in another environment's folder."""

    def __init__(self, packages: str):
        self.packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [self.packages], target) if name in BORROWED else None


def convert(folder: str, packages: str, blocks: str, final: str, shape: Sequence[int], names: Sequence[str]) -> None:
    """Writes `named.tflite` into `folder`.

    Args:
        packages: the folder in which Torch lies.
        blocks, final: what the weights leave open; see `identify` and `Architecture`.
        shape: of the input, channels last.
        names: of the outputs, in order.
    """
    sys.meta_path.append(_Borrowed(packages))
    import litert_torch
    import torch

    from u2net_zoo import torch_model

    with np.load(Path(folder, "state.npz"), allow_pickle=False) as stored:
        state = dict(stored)
    arch = identify({key: value.shape for key, value in state.items()}, blocks=blocks)
    checkpoint = Checkpoint.from_state(state, arch=arch).with_final(final)
    model = torch_model.build(checkpoint, outputs="all" if len(names) > 1 else "mask")
    last = litert_torch.to_channel_last_io(model, args=[0], outputs=list(range(len(names))))
    target = Path(folder, "plain.tflite")
    litert_torch.convert(last, (torch.zeros(*shape),)).export(str(target))
    Path(folder, "named.tflite").write_bytes(_named(target.read_bytes(), names))


def _named(content: bytes, names: Sequence[str]) -> bytes:
    """With `image` in and `names` out in its signature: litert-torch numbers both."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (signature,) = model.signatureDefs
    signature.inputs[0].name = b"image"
    for name, answer in zip(names, _numbered(signature.outputs), strict=True):
        answer.name = name.encode()
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _numbered(outputs: Sequence[Any]) -> list[Any]:
    return sorted(outputs, key=lambda each: (len(each.name), each.name))

"""The U²-Net family as data: what the network is, spelt out once for every framework.

`Architecture.run(ops, image)` walks the network and leaves the arithmetic to `ops`. Torch and Keras models, the list of
convolutions, shapes and operation counts are all answers of some `ops` to the same walk, so they cannot disagree.

Source: X. Qin et al., "U²-Net: Going deeper with nested U-structure for salient object detection", Pattern Recognition
106 (2020), and the authors' published model definition, whose module names are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .units import BN_EPS, BN_MOMENTUM, POOL, RSU, STEM, Ops, Unit

__all__ = [
    "BN_EPS",
    "BN_MOMENTUM",
    "ISNET",
    "KNOWN",
    "POOL",
    "RSU",
    "STEM",
    "U2NET",
    "U2NETP",
    "U2NET_NANO",
    "Architecture",
    "Ops",
    "Unit",
    "two_level",
]


@dataclass(frozen=True)
class Architecture:
    """A two-level nested U with a side output per decoder stage and, in U²-Net, their fusion.

    Attributes:
        encoder: blocks `stage1` … `stageN`, a pooling between them.
        decoder: blocks `stage{N-1}d` … `stage1d`.
        out_ch: channels of every output; 1 for a mask.
        final: `"sigmoid"` (outputs in [0, 1]) or `"none"` (logits, one channel per class).
        stem: a convolution before the first stage (IS-Net); the sides are then upsampled to the image's size.
        fused: whether `outconv` fuses the sides to d0; without it d1 is the mask.
        side_count: how many sides there are; None: one per stage. A file that answers d1 alone has no others.
    """

    name: str = field(compare=False)
    encoder: tuple[RSU, ...]
    decoder: tuple[RSU, ...]
    out_ch: int = 1
    final: str = "sigmoid"
    folded: bool = False
    stem: Unit | None = None
    fused: bool = True
    side_count: int | None = None

    @property
    def in_ch(self) -> int:
        return self.stem.in_ch if self.stem else self.encoder[0].in_ch

    @property
    def blocks(self) -> tuple[RSU, ...]:
        return (*self.encoder, *self.decoder)

    @property
    def sides(self) -> tuple[Unit, ...]:
        """`side1` (full size, from `stage1d`) … `sideN` (from `stageN`)."""
        sources = (*reversed(self.decoder), self.encoder[-1])[: self.side_count]
        return tuple(
            Unit("", f"side{n}", block.out_ch, self.out_ch, norm=False, relu=False)
            for n, block in enumerate(sources, start=1)
        )

    @property
    def fusion(self) -> Unit:
        """`outconv`: a 1x1 convolution over the side outputs, all at full size."""
        return Unit("", "outconv", self.out_ch * len(self.encoder), self.out_ch, kernel=1, norm=False, relu=False)

    @property
    def heads(self) -> tuple[Unit, ...]:
        return (*self.sides, self.fusion) if self.fused else self.sides

    @property
    def singles(self) -> tuple[Unit, ...]:
        """The convolutions that stand in no block: the stem, where there is one, and the heads."""
        return (self.stem, *self.heads) if self.stem else self.heads

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `run` returns: `mask` (d0, the fusion), `side1` (d1) …; unfused `mask` (d1), `side2` …"""
        return ("mask", *(unit.name for unit in self.sides[0 if self.fused else 1 :]))

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this halve exactly everywhere: 32 for U²-Net, 64 for IS-Net."""
        first = self.stem.stride if self.stem else 1
        return first * POOL ** max(depth + block.poolings for depth, block in enumerate(self.encoder))

    def run(self, ops: Ops, image: Any) -> tuple[Any, ...]:
        """Logits `(d0, d1, …, dN)`, unfused `(d1, …, dN)`, each at the image's size; the final activation is the
        caller's."""
        x = ops.conv(self.stem, image) if self.stem else image
        skips: list[Any] = []
        for block in self.encoder:
            x = ops.block(block, ops.pool(x) if skips else x)
            skips.append(x)
        features = [skips.pop()]
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            features.append(ops.block(block, ops.concat(ops.upsample(features[-1], skip), skip)))
        first, *rest = (ops.conv(unit, x) for unit, x in zip(self.sides, reversed(features), strict=False))
        full = image if self.stem else first
        sides = [ops.upsample(first, full) if self.stem else first, *(ops.upsample(side, full) for side in rest)]
        return (ops.conv(self.fusion, ops.concat(*sides)), *sides) if self.fused else tuple(sides)

    def units(self) -> tuple[Unit, ...]:
        """Every convolution in the order in which it is executed."""
        recorder = _Recorder()
        self.run(recorder, None)
        return tuple(recorder.units)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every key of the Torch state dict with its shape."""
        blocks = [unit for block in self.blocks for unit in block.units]
        units = [*([self.stem] if self.stem else []), *blocks, *self.heads]
        return {key: shape for unit in units for key, shape in unit.shapes()}

    def parameters(self) -> int:
        """Number of trainable scalars."""
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        shapes = ((key.rsplit(".", 1)[1], shape) for key, shape in self.state_shapes().items())
        return sum(_product(shape) for leaf, shape in shapes if leaf not in buffers)

    def fold(self) -> "Architecture":
        """The same network with batch norm folded into the convolutions."""
        return self._with_norm(False)

    def unfold(self) -> "Architecture":
        """The same network with batch norm behind every convolution of a block, as the authors' class has it."""
        return self._with_norm(True)

    def _with_norm(self, norm: bool) -> "Architecture":
        encoder, decoder = (tuple(replace(b, norm=norm) for b in side) for side in (self.encoder, self.decoder))
        return replace(self, encoder=encoder, decoder=decoder, folded=not norm)


class _Recorder:
    """Ops that only note which convolution came when."""

    def __init__(self) -> None:
        self.units: list[Unit] = []

    def conv(self, unit: Unit, x: Any) -> object:
        self.units.append(unit)
        return object()

    def pool(self, x: Any) -> object:
        return object()

    def upsample(self, x: Any, like: Any) -> object:
        return object()

    def concat(self, *maps: Any) -> object:
        return object()

    def add(self, a: Any, b: Any) -> object:
        return object()

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(self, x)


def _product(shape: Sequence[int]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result


def two_level(
    name: str,
    encoder: Sequence[tuple[str, int, int]],
    decoder: Sequence[tuple[str, int, int]],
    *,
    in_ch: int = 3,
    out_ch: int = 1,
    final: str = "sigmoid",
    stem_ch: int | None = None,
    fused: bool = True,
) -> Architecture:
    """An architecture from one `(kind, mid_ch, out_ch)` per stage, kind being `"7"`, `"6"`, `"5"`, `"4"` or `"4F"`.

    `decoder` starts at the deepest stage; its input widths follow from the stages that feed it. `stem_ch`: channels of
    a stem, as in IS-Net.
    """
    stem = Unit("", STEM, in_ch, stem_ch, norm=False, relu=False, stride=2) if stem_ch else None
    blocks: list[RSU] = []
    channels = stem_ch or in_ch
    for n, (kind, mid, out) in enumerate(encoder, start=1):
        blocks.append(_block(f"stage{n}", kind, channels, mid, out))
        channels = out
    ups: list[RSU] = []
    for (kind, mid, out), skip in zip(decoder, reversed(blocks[:-1]), strict=True):
        ups.append(_block(f"{skip.path}d", kind, channels + skip.out_ch, mid, out))
        channels = out
    return Architecture(name, tuple(blocks), tuple(ups), out_ch, final, stem=stem, fused=fused)


def _block(path: str, kind: str, in_ch: int, mid: int, out: int) -> RSU:
    return RSU(path, int(kind.rstrip("F")), in_ch, mid, out, dilated=kind.endswith("F"))


U2NET = two_level(
    "u2net",
    [("7", 32, 64), ("6", 32, 128), ("5", 64, 256), ("4", 128, 512), ("4F", 256, 512), ("4F", 256, 512)],
    [("4F", 256, 512), ("4", 128, 256), ("5", 64, 128), ("6", 32, 64), ("7", 16, 64)],
)

U2NETP = two_level(
    "u2netp",
    [(kind, 16, 64) for kind in ("7", "6", "5", "4", "4F", "4F")],
    [(kind, 16, 64) for kind in ("4F", "4", "5", "6", "7")],
)

# Source: X. Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022, and the authors' model definition.
ISNET = two_level(
    "isnet",
    [("7", 32, 64), ("6", 32, 128), ("5", 64, 256), ("4", 128, 512), ("4F", 256, 512), ("4F", 256, 512)],
    [("4F", 256, 512), ("4", 128, 256), ("5", 64, 128), ("6", 32, 64), ("7", 16, 64)],
    stem_ch=64,
    fused=False,
)

U2NET_NANO = two_level(
    "u2net_nano",
    [("7", 8, 16), ("6", 8, 16), ("5", 12, 32), ("4", 12, 32), ("4F", 12, 32), ("4F", 12, 32)],
    [("4F", 12, 32), ("4", 12, 32), ("5", 12, 32), ("6", 8, 16), ("7", 8, 16)],
)

KNOWN = (U2NET, U2NETP, U2NET_NANO, ISNET)

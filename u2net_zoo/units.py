"""What a network of the U²-Net family is made of: convolutions, residual U-blocks, and the conventions behind them.

A walk (`run`) says in which order things happen and leaves the arithmetic to `Ops`; see `arch`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["BN_EPS", "BN_MOMENTUM", "POOL", "RSU", "STEM", "Ops", "Unit"]

# The conventions in which frameworks differ. Builders read them from here; no framework's default is trusted.
BN_EPS = 1e-5  # Keras defaults to 1e-3
BN_MOMENTUM = 0.1  # weight of the new batch, as Torch counts it; Keras counts the other way round: 0.9
POOL = 2  # max pooling 2x2, stride 2, ceil_mode: 5 -> 3 (Keras: padding="same")
STEM = "conv_in"  # IS-Net's first convolution: stride 2, padded by 1 on every side, neither norm nor ReLU
# Upsampling: bilinear to the skip's exact size, half-pixel centres (align_corners=False), no antialiasing.


@dataclass(frozen=True)
class Unit:
    """One convolution with a bias, padded to keep the size (before the stride); inside a block norm and ReLU follow it.

    Attributes:
        scope: path of the block that holds it, `""` for a head.
        name: name of the unit in the block.
        norm: whether batch norm follows (a folded network has none).
        relu: whether ReLU follows.
    """

    scope: str
    name: str
    in_ch: int
    out_ch: int
    kernel: int = 3
    dilation: int = 1
    norm: bool = True
    relu: bool = True
    stride: int = 1

    @property
    def path(self) -> str:
        """Name in the whole network: `stage1.rebnconvin`, `side1`, `outconv`."""
        return f"{self.scope}.{self.name}" if self.scope else self.name

    @property
    def conv_path(self) -> str:
        """Path of the convolution's tensors in the state dict."""
        return f"{self.path}.conv_s1" if self.relu else self.path

    @property
    def norm_path(self) -> str:
        """Path of the batch norm's tensors in the state dict."""
        return f"{self.path}.bn_s1"

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel // 2)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """State-dict keys with their shapes (kernels OIHW), in the order in which Torch stores them."""
        yield f"{self.conv_path}.weight", (self.out_ch, self.in_ch, self.kernel, self.kernel)
        yield f"{self.conv_path}.bias", (self.out_ch,)
        if self.norm:
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                yield f"{self.norm_path}.{leaf}", (self.out_ch,)
            yield f"{self.norm_path}.num_batches_tracked", ()


class Ops(Protocol):
    """The arithmetic of a walk; a feature map may be anything that these functions pass on."""

    def conv(self, unit: Unit, x: Any) -> Any: ...
    def pool(self, x: Any) -> Any: ...
    def upsample(self, x: Any, like: Any) -> Any: ...
    def concat(self, *maps: Any) -> Any: ...
    def add(self, a: Any, b: Any) -> Any: ...
    def block(self, block: "RSU", x: Any) -> Any: ...


@dataclass(frozen=True)
class RSU:
    """Residual U-block of `height` levels: RSU-7 … RSU-4, and RSU-4F where dilation stands in for pooling."""

    path: str
    height: int
    in_ch: int
    mid_ch: int
    out_ch: int
    dilated: bool = False
    norm: bool = True

    def unit(self, name: str, in_ch: int, out_ch: int, dilation: int = 1) -> Unit:
        return Unit(self.path, name, in_ch, out_ch, dilation=dilation, norm=self.norm)

    def dilation(self, level: int) -> int:
        """1, 2, 4, 8 in a dilated block; elsewhere 1, but 2 at the bottom, which is not pooled."""
        if self.dilated:
            return 1 << (level - 1)
        return 2 if level == self.height else 1

    @property
    def entry(self) -> Unit:
        return self.unit("rebnconvin", self.in_ch, self.out_ch)

    @property
    def encoder(self) -> tuple[Unit, ...]:
        """Levels 1 … height, the last one being the bottom."""
        levels = range(1, self.height + 1)
        inputs = [self.out_ch] + [self.mid_ch] * (self.height - 1)
        return tuple(
            self.unit(f"rebnconv{n}", channels, self.mid_ch, self.dilation(n))
            for n, channels in zip(levels, inputs, strict=True)
        )

    @property
    def decoder(self) -> tuple[Unit, ...]:
        """Levels height-1 … 1; each takes what came from below beside the skip."""
        return tuple(
            self.unit(
                f"rebnconv{n}d",
                2 * self.mid_ch,
                self.out_ch if n == 1 else self.mid_ch,
                self.dilation(n) if self.dilated else 1,
            )
            for n in range(self.height - 1, 0, -1)
        )

    @property
    def poolings(self) -> int:
        """How often the block halves its input; neither its bottom level nor a dilated block pools."""
        return 0 if self.dilated else self.height - 2

    @property
    def units(self) -> tuple[Unit, ...]:
        return (self.entry, *self.encoder, *self.decoder)

    def run(self, ops: Ops, x: Any) -> Any:
        residual = ops.conv(self.entry, x)
        *levels, bottom = self.encoder
        x = residual
        skips: list[Any] = []
        for unit in levels:
            x = ops.pool(x) if skips and not self.dilated else x
            x = ops.conv(unit, x)
            skips.append(x)
        x = ops.conv(bottom, x)
        for unit, skip in zip(self.decoder, reversed(skips), strict=True):
            below = skip is skips[-1] or self.dilated
            x = ops.conv(unit, ops.concat(x if below else ops.upsample(x, skip), skip))
        return ops.add(x, residual)

"""A U²-Net that somebody else built in Keras, whose layers have Keras' own names."""

from typing import Any

from u2net_zoo.arch import BN_EPS, POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.keras_model import load_keras_module
from u2net_zoo.weight_map import TO_HWIO

__all__ = ["Strangers"]


class Strangers:
    """A functional U²-Net with layers of default names.

    Args:
        made: when the side convolutions are made: `end`, `interleaved` with the decoder, or at the end and `reversed`.
        upsample: an upsampling by 2 after another (`steps`), or one by all (`once`).
        fused: order of the fusion's inputs, `forward` or `reversed`.
    """

    def __init__(self, module: str, made: str = "end", upsample: str = "once", fused: str = "forward", size: int = 32):
        self.keras = load_keras_module(module)
        self.layers, self.made, self.upsampled, self.fused, self.size = self.keras.layers, made, upsample, fused, size
        self.filled: list[tuple[Unit, Any, Any]] = []

    def build(self, checkpoint: Checkpoint) -> Any:
        arch = checkpoint.arch
        image = self.layers.Input((self.size, self.size, arch.in_ch))
        sides = self._sides(arch, image)
        full = [self._enlarged(side, n) for n, side in enumerate(sides)]
        fusion = self.layers.Conv2D(arch.out_ch, 1)
        inputs = full if self.fused == "forward" else full[::-1]
        outputs = [fusion(self.layers.Concatenate()(inputs)), *full]
        self.filled.append((arch.fusion, fusion, None))
        model = self.keras.Model(image, [self.layers.Activation("sigmoid")(x) for x in outputs])
        self._fill(checkpoint)
        return model

    def _sides(self, arch: Architecture, image: Any) -> list[Any]:
        x, skips, features, sides = image, [], {}, {}
        by_stage = dict(
            zip([*(b.path for b in reversed(arch.decoder)), arch.encoder[-1].path], arch.sides, strict=True)
        )

        def kept(block: RSU, value: Any) -> Any:
            if block.path in by_stage:
                features[by_stage[block.path]] = value
                if self.made == "interleaved":
                    sides[by_stage[block.path]] = self._head(by_stage[block.path], value)
            return value

        for block in arch.encoder:
            x = kept(block, block.run(self, self.pool(x) if skips else x))
            skips.append(x)
        skips.pop()
        for block, skip in zip(arch.decoder, reversed(skips), strict=True):
            x = kept(block, block.run(self, self.concat(self.upsample(x, skip), skip)))
        if self.made != "interleaved":
            for unit in arch.sides if self.made == "end" else reversed(arch.sides):
                sides[unit] = self._head(unit, features[unit])
        return [sides[unit] for unit in arch.sides]

    def _head(self, unit: Unit, x: Any) -> Any:
        conv = self.layers.Conv2D(unit.out_ch, unit.kernel, padding="same")
        self.filled.append((unit, conv, None))
        return conv(x)

    def _enlarged(self, x: Any, level: int) -> Any:
        steps = [2] * level if self.upsampled == "steps" else [2**level] if level else []
        for factor in steps:
            x = self.layers.UpSampling2D(factor, interpolation="bilinear")(x)
        return x

    def conv(self, unit: Unit, x: Any) -> Any:
        conv = self.layers.Conv2D(unit.out_ch, unit.kernel, padding="same", dilation_rate=unit.dilation)
        norm = self.layers.BatchNormalization(epsilon=BN_EPS)
        self.filled.append((unit, conv, norm))
        return self.layers.ReLU()(norm(conv(x)))

    def pool(self, x: Any) -> Any:
        return self.layers.MaxPooling2D(POOL, padding="same")(x)

    def upsample(self, x: Any, like: Any) -> Any:
        factors = like.shape[1] // x.shape[1], like.shape[2] // x.shape[2]
        return self.layers.UpSampling2D(factors, interpolation="bilinear")(x) if factors != (1, 1) else x

    def concat(self, *maps: Any) -> Any:
        return self.layers.Concatenate()(list(maps))

    def add(self, a: Any, b: Any) -> Any:
        return self.layers.Add()([a, b])

    def _fill(self, checkpoint: Checkpoint) -> None:
        for unit, conv, norm in self.filled:
            kernel, bias = (checkpoint.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
            if unit.name == "outconv" and self.fused == "reversed":
                kernel = kernel[:, ::-1]
            conv.set_weights([kernel.transpose(TO_HWIO), bias])
            if norm is not None:
                leaves = ("weight", "bias", "running_mean", "running_var")
                norm.set_weights([checkpoint.state[f"{unit.norm_path}.{leaf}"] for leaf in leaves])

"""A U²-Net as the paper draws it, in Keras' layers: this project's modules and tables have no part in it.

After X. Qin et al., "U²-Net: Going deeper with nested U-structure for salient object detection", Pattern Recognition
106, 2020: figures 2 and 5, table 1. Narrow by default; `PaperNetwork(16, 64)` has u2netp's channels.
"""

from typing import Any

import numpy as np

__all__ = ["PaperNetwork"]

EPSILON = 1e-5


class PaperNetwork:
    """Builds the model and keeps its weights under the names of the authors' code.

    Attributes:
        state: those names -> arrays as Torch has them (kernels OIHW).
        model: (1, H, W, 3) -> seven maps (1, H, W, 1), the fused one first.
    """

    def __init__(self, middle: int = 4, outer: int = 8, size: tuple[int, int] = (64, 64), seed: int = 0):
        import keras

        self.keras, self.middle, self.outer = keras, middle, outer
        self.dice = np.random.default_rng(seed)
        self.state: dict[str, np.ndarray] = {}
        self.later: list[tuple[Any, list[np.ndarray]]] = []
        image = keras.Input((*size, 3), batch_size=1)
        self.model = keras.Model(image, self.network(image))
        for layer, weights in self.later:
            layer.set_weights(weights)

    def network(self, image: Any) -> list[Any]:
        downs, x = [], image
        for n, depth in enumerate((7, 6, 5, 4, 0, 0), 1):
            x = self.block(f"stage{n}", x if n == 1 else self.halved(x), depth)
            downs.append(x)
        ups = [x]
        for n, depth in ((5, 0), (4, 4), (3, 5), (2, 6), (1, 7)):
            x = self.block(f"stage{n}d", self.joined(self.resized(x, downs[n - 1]), downs[n - 1]), depth)
            ups.append(x)
        sides = [self.conv(f"side{n}", x, 1) for n, x in enumerate(reversed(ups), 1)]
        sides = [side if n == 0 else self.resized(side, sides[0]) for n, side in enumerate(sides)]
        fused = self.conv("outconv", self.joined(*sides), 1, kernel=1)
        return [self.keras.layers.Activation("sigmoid")(each) for each in (fused, *sides)]

    def block(self, name: str, x: Any, depth: int) -> Any:
        """RSU-`depth`; 0: RSU-4F, which dilates instead of pooling."""
        flat, levels = depth == 0, depth or 4
        whole = self.unit(f"{name}.rebnconvin", x, self.outer)
        x, kept = whole, []
        for n in range(1, levels):
            x = self.unit(
                f"{name}.rebnconv{n}", x if n == 1 or flat else self.halved(x), self.middle, 2 ** (n - 1) * flat
            )
            kept.append(x)
        x = self.unit(f"{name}.rebnconv{levels}", x, self.middle, 8 if flat else 2)
        for n in range(levels - 1, 0, -1):
            below = x if flat or n == levels - 1 else self.resized(x, kept[n - 1])
            channels = self.outer if n == 1 else self.middle
            x = self.unit(f"{name}.rebnconv{n}d", self.joined(below, kept[n - 1]), channels, 2 ** (n - 1) * flat)
        return self.keras.layers.Add()([x, whole])

    def unit(self, name: str, x: Any, channels: int, apart: int = 1) -> Any:
        """Convolution, batch norm, ReLU."""
        x = self.conv(f"{name}.conv_s1", x, channels, apart=max(apart, 1))
        norm = self.keras.layers.BatchNormalization(epsilon=EPSILON)
        result = self.keras.layers.ReLU()(norm(x, training=False))
        low, high = self.dice.uniform(0.6, 1.2, (2, channels)).astype(np.float32)
        shift, mean = self.dice.normal(0, 0.2, (2, channels)).astype(np.float32)
        self.later.append((norm, [low, shift, mean, high]))
        leaves = {"weight": low, "bias": shift, "running_mean": mean, "running_var": high}
        self.state |= {f"{name}.bn_s1.{leaf}": value for leaf, value in leaves.items()}
        return result

    def conv(self, name: str, x: Any, channels: int, kernel: int = 3, apart: int = 1) -> Any:
        layer = self.keras.layers.Conv2D(channels, kernel, padding="same", dilation_rate=apart)
        result = layer(x)
        shape = (kernel, kernel, x.shape[-1], channels)
        weights = self.dice.normal(0, (2 / (kernel * kernel * shape[2])) ** 0.5, shape).astype(np.float32)
        bias = self.dice.normal(0, 0.1, channels).astype(np.float32)
        self.later.append((layer, [weights, bias]))
        self.state |= {f"{name}.weight": weights.transpose(3, 2, 0, 1), f"{name}.bias": bias}
        return result

    def halved(self, x: Any) -> Any:
        return self.keras.layers.MaxPooling2D(2, 2, padding="same")(x)

    def resized(self, x: Any, like: Any) -> Any:
        if x.shape[1:3] == like.shape[1:3]:
            return x
        return self.keras.layers.Resizing(*like.shape[1:3], interpolation="bilinear")(x)

    def joined(self, *maps: Any) -> Any:
        return self.keras.layers.Concatenate()(list(maps))

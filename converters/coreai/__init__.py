"""Core AI's assets (`.aimodel`), evaluated op by op on any operating system.

    asset = Asset.open("u2netp.aimodel")
    asset.function.inputs                       # names, types, shapes
    Interpreter(asset).evaluate({"image": x})   # {"mask": …}

    >>> from converters.coreai.interpreter import supported
    >>> {"conv2d_v1", "max_pool_2d_v1", "interpolate_v1"} <= set(supported())
    True

The bytes of the asset are parsed here, so nothing of Apple's packages is needed, and a damaged file ends no process.
Torch is loaded with `interpreter`, not with `asset`.
"""

from .asset import Asset

__all__ = ["Asset"]

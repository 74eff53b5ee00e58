"""What is usually wrong with a converted U²-Net: one row per fault, each a variant of the right network.

A file whose answers are wrong is compared with the network under each fault's rules; the one that brings the answers
together explains the difference. To add a fault: one row, and a function where the rule is new.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from u2net_zoo.arch import BN_EPS
from u2net_zoo.checkpoint import Checkpoint

from .faulty_network import FaultyNetwork, Sample

__all__ = ["KNOWN_FAULTS", "KnownFault"]

KERAS_EPS = 1e-3  # what Keras' BatchNormalization takes by default


@dataclass(frozen=True)
class KnownFault:
    """One way to be wrong.

    Attributes:
        name: what explains the difference, as people would search for it.
        differs: the part that differs: `resizing`, `pooling`, `the input` …
        rules: the network with this fault.
        exact: whether two programs with this fault agree. Arithmetic at low precision rounds in an order of its own in
            every runtime, so there the size and the place of the differences are compared instead.
        precision: which of a format's bounds such a file is held to, when it is no fault but a precision.
    """

    name: str
    differs: str
    rules: FaultyNetwork
    exact: bool = True
    precision: str | None = None


def _on_kernels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Checkpoint], Checkpoint]:
    """A change to every kernel after folding, which is where exporters round."""

    def changed(checkpoint: Checkpoint) -> Checkpoint:
        folded = checkpoint.fold()
        state = {key: change(v).astype(np.float32) if v.ndim == 4 else v for key, v in folded.state.items()}
        return replace(folded, state=state).unfold()

    return changed


def _half(kernel: np.ndarray) -> np.ndarray:
    return kernel.astype(np.float16)


def _brain(kernel: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16's 8 bits, ties to even."""
    bits = np.ascontiguousarray(kernel, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def _int8(per_channel: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Symmetric 8-bit steps of the largest weight, of each output channel or of the whole kernel."""

    def rounded(kernel: np.ndarray) -> np.ndarray:
        largest = np.abs(kernel).max(axis=(1, 2, 3) if per_channel else None, keepdims=True)
        step = np.maximum(largest / 127, 1e-12)
        return np.clip(np.round(kernel / step), -127, 127) * step

    return rounded


def _eps(checkpoint: Checkpoint) -> Checkpoint:
    """Keras' epsilon in every batch norm: the difference is added to the variance."""
    added = np.float32(KERAS_EPS - BN_EPS)
    state = {key: v + added if key.endswith("running_var") else v for key, v in checkpoint.state.items()}
    return replace(checkpoint, state=state)


def _with_input(change: Callable[[Sample], np.ndarray]) -> FaultyNetwork:
    """The network with another input, of colour photographs."""
    return FaultyNetwork(feed=lambda sample: change(sample) if sample.coloured else sample.x)


def _one_std(value: float) -> FaultyNetwork:
    return _with_input(lambda s: (s.scaled - s.per_channel(s.profile.mean)) / value)


def _image_type(std: float) -> FaultyNetwork:
    """What Core ML's image inputs can do by themselves: one scale for all channels, and a bias for each."""
    return _with_input(lambda s: (s.scaled * s.peak - s.per_channel(s.profile.mean)) / std)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _minmax(x: np.ndarray) -> np.ndarray:
    low, high = (f(x, axis=(-2, -1), keepdims=True) for f in (np.min, np.max))
    return (x - low) / np.maximum(high - low, 1e-12)


def _computed(dtype: str, precision: str, folded: bool) -> KnownFault:
    """Exporters fold batch norm before they round, a Torch model that is converted whole does not: other errors."""
    name = f"computed in {precision}" if folded else f"computed in {precision}, batch norm not folded"
    rules = FaultyNetwork(dtype=dtype, weights=Checkpoint.fold if folded else None)
    return KnownFault(name, "the arithmetic", rules, exact=False, precision=precision)


KNOWN_FAULTS = (
    KnownFault("align_corners=True", "resizing", FaultyNetwork(resize="corners")),
    KnownFault("nearest neighbour instead of bilinear", "resizing", FaultyNetwork(resize="nearest")),
    KnownFault("bilinear without half-pixel centres (TensorFlow 1)", "resizing", FaultyNetwork(resize="origin")),
    KnownFault("sizes rounded down (ceil_mode=False)", "pooling", FaultyNetwork(pool="floor")),
    KnownFault("average instead of maximum", "pooling", FaultyNetwork(pool="average")),
    KnownFault("missing dilation", "convolution", FaultyNetwork(dilation=False)),
    KnownFault("logits instead of a sigmoid", "the output", FaultyNetwork(final="none")),
    KnownFault("a sigmoid instead of logits", "the output", FaultyNetwork(final="sigmoid")),
    KnownFault("the sigmoid twice", "the output", FaultyNetwork(answer=_sigmoid)),
    KnownFault("inverted (1 - mask)", "the output", FaultyNetwork(answer=lambda m: 1 - m)),
    KnownFault("min-max normalised in the file", "the output", FaultyNetwork(answer=_minmax)),
    KnownFault("0..255 instead of 0..1", "the output", FaultyNetwork(answer=lambda m: 255 * m)),
    KnownFault("red and blue swapped (BGR)", "the input", _with_input(lambda s: s.normalised(s.scaled[:, ::-1]))),
    KnownFault("channels of the first kernel reversed (BGR)", "the input", _with_input(lambda s: s.x[:, ::-1])),
    KnownFault(
        "divided by 255 instead of by the maximum", "the input", _with_input(lambda s: s.normalised(s.scaled * s.peak))
    ),
    KnownFault(
        "divided by 255, red and blue swapped (BGR)",
        "the input",
        _with_input(lambda s: s.normalised(s.scaled[:, ::-1] * s.peak)),
    ),
    KnownFault(
        "divided by 255, the standard deviation folded into the first kernel, as OpenVINO does",
        "the input",
        _with_input(lambda s: s.scaled * s.peak - s.per_channel(s.profile.mean)),
    ),
    KnownFault("one standard deviation for all channels (0.2260)", "the input", _one_std(0.226)),
    KnownFault("one standard deviation for all channels (0.2250)", "the input", _one_std(0.225)),
    KnownFault("one standard deviation for all channels (0.2290)", "the input", _one_std(0.229)),
    KnownFault("divided by 255, one standard deviation (0.2260), as Core ML's scale", "the input", _image_type(0.226)),
    KnownFault("divided by 255, one standard deviation (0.2250), as Core ML's scale", "the input", _image_type(0.225)),
    KnownFault("divided by 255, one standard deviation (0.2290), as Core ML's scale", "the input", _image_type(0.229)),
    KnownFault("mean and standard deviation left out", "the input", _with_input(lambda s: s.scaled)),
    KnownFault("mean and standard deviation 0.5", "the input", _with_input(lambda s: (s.scaled - 0.5) / 0.5)),
    KnownFault(
        "batch norm's epsilon 1e-3 instead of 1e-5 (Keras' default)", "the weights", FaultyNetwork(weights=_eps)
    ),
    KnownFault("rounded to fp16", "the weights", FaultyNetwork(weights=_on_kernels(_half)), precision="fp16"),
    KnownFault("rounded to bf16", "the weights", FaultyNetwork(weights=_on_kernels(_brain)), precision="bf16"),
    KnownFault(
        "rounded to int8 per channel", "the weights", FaultyNetwork(weights=_on_kernels(_int8(True))), precision="int8"
    ),
    KnownFault(
        "rounded to int8 per kernel", "the weights", FaultyNetwork(weights=_on_kernels(_int8(False))), precision="int8"
    ),
    _computed("float16", "fp16", folded=True),
    _computed("float16", "fp16", folded=False),
    _computed("bfloat16", "bf16", folded=True),
    _computed("bfloat16", "bf16", folded=False),
)

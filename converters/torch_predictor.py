"""A checkpoint as a predictor: the Torch model, at any precision that Torch has."""

import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from importlib.util import find_spec

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import MissingExtraError

from .predictor import Outputs, Predictor, check_channels

__all__ = ["ANSWERS", "AnswerCache", "RememberingPredictor", "TorchPredictor"]

KEPT = 96 << 20  # bytes; the reference of u2netp at 320x320 takes 35 MB


class TorchPredictor(Predictor):
    """Runs `checkpoint` in Torch. Outputs keep the dtype that was asked for: float64 is the reference of parity.

    Args:
        dtype: `"float32"` or `"float64"`.
        fold: fold batch norm and use channels-last memory: about 1.4 times as fast in float32, and no longer the
            authors' own sequence of operations.
        channels_last: that memory layout without folding: the authors' operations by other kernels.
    """

    concurrent = True

    def __init__(self, checkpoint: Checkpoint, dtype: str = "float32", fold: bool = False, channels_last: bool = False):
        if find_spec("torch") is None:
            raise MissingExtraError("Torch, which every conversion is compared with,", "torch", "torch")
        import torch

        from u2net_zoo import torch_model

        self.torch = torch
        self.outputs, self.channels = checkpoint.arch.outputs, checkpoint.arch.in_ch
        self.dtype = getattr(torch, dtype)
        self.model = torch_model.build(checkpoint.fold() if fold else checkpoint, dtype=self.dtype)
        if fold or channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_channels(self, x)
        with self.torch.inference_mode():
            maps = self.model(self.torch.from_numpy(x).to(self.dtype))
        return {name: m.numpy() for name, m in zip(self.outputs, maps, strict=True)}

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        found: dict[str, np.ndarray] = {}
        hooks = [
            self.model.get_submodule(unit.path).register_forward_hook(
                lambda module, args, result, path=unit.path: found.__setitem__(path, result.numpy())
            )
            for unit in arch.units()
        ]
        try:
            self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return iter(found.items())


class AnswerCache:
    """What networks answered, by network and input: the latest `capacity` bytes of it. Threads may share one."""

    def __init__(self, capacity: int = KEPT):
        self.capacity = capacity
        self._answers: OrderedDict[Hashable, Outputs] = OrderedDict()  # the latest stands last
        self._lock = threading.Lock()

    def answer(self, key: Hashable, compute: Callable[[], Outputs]) -> Outputs:
        """The remembered answer, or what `compute` says; its arrays become read-only."""
        with self._lock:
            found = self._answers.pop(key, None)
        if found is None:
            found = compute()
            for value in found.values():
                value.flags.writeable = False
        with self._lock:
            self._answers[key] = found
            while self.bytes > self.capacity:
                self._answers.popitem(last=False)
        return found

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for answer in self._answers.values() for value in answer.values())

    def clear(self) -> None:
        """Gives the memory back."""
        with self._lock:
            self._answers.clear()


# Shared by all conversions and verifications of a process, for they are mostly of the same weights. A program that
# goes on to other work calls `ANSWERS.clear()`.
ANSWERS = AnswerCache()


class RememberingPredictor(Predictor):
    """A checkpoint in Torch that is not asked twice: float64 takes five times as long as most runtimes that it judges.

    Answers are read-only and remembered by weights, dtype, memory layout and input. The network is built when it first
    has to run.

    Args:
        answers: where they are remembered; None: with everybody else's, in `ANSWERS`.
    """

    concurrent = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str = "float32",
        channels_last: bool = False,
        answers: AnswerCache | None = None,
    ):
        self.checkpoint, self.dtype, self.outputs = checkpoint, dtype, checkpoint.arch.outputs
        self.channels_last = channels_last
        self.answers = ANSWERS if answers is None else answers

    @functools.cached_property
    def predictor(self) -> TorchPredictor:
        return TorchPredictor(self.checkpoint, self.dtype, channels_last=self.channels_last)

    def compute(self, x: np.ndarray) -> Outputs:
        content = hashlib.sha256(np.ascontiguousarray(x).data).hexdigest()
        key = self.checkpoint.digest, self.dtype, self.channels_last, x.shape, str(x.dtype), content
        return self.answers.answer(key, lambda: self.predictor(x))

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        return self.predictor.taps(x, arch)

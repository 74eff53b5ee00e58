"""What the network answers under each suspect: computed once for each sample, while there is work left to spend."""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.flops import flops

from ..predictor import Outputs
from ..progress import report
from .faulty_network import FaultyNetwork, Sample
from .known_faults import KnownFault

__all__ = ["WORK", "Suspects"]

WORK = 5.5e12  # floating-point operations of a search: 47 runs of full-size u2net at 320x320, 20 to 40 s on two cores
KEPT = 96 << 20  # bytes of answers: 33 of a network with seven maps at 320x320


class Suspects:
    """Runs of one network under its faults.

    Attributes:
        untried: how many suspects and pairs were passed over because the work was spent.

    Args:
        work: floating-point operations that a search may take.
    """

    def __init__(self, checkpoint: Checkpoint, work: float = WORK):
        self.checkpoint, self.left, self.untried, self.runs = checkpoint, work, 0, 0
        self._model: Any = None
        self._logits: OrderedDict[Hashable, list[np.ndarray]] = OrderedDict()  # the latest stands last

    def answers(self, group: Sequence[KnownFault], sample: Sample) -> Outputs | None:
        """name -> (1, out_ch, H, W) float32; None where the work is spent."""
        logits = self._remembered(group, sample)
        if logits is None and self.left <= 0:
            self.untried += 1
            return None
        return self.confirming(group, sample)

    def confirming(self, group: Sequence[KnownFault], sample: Sample) -> Outputs:
        """`answers` of suspects that were found: they are wanted whether work is left or not."""
        logits = self._remembered(group, sample)
        rules = _rules(group)
        if logits is None:
            logits = self._logits[_key(rules, sample)] = self._run(rules, sample)
            while len(self._logits) > 1 and sum(x.nbytes for maps in self._logits.values() for x in maps) > KEPT:
                self._logits.popitem(last=False)
        return rules.finished(self.checkpoint.arch, logits)

    def _remembered(self, group: Sequence[KnownFault], sample: Sample) -> list[np.ndarray] | None:
        key = _key(_rules(group), sample)
        if key in self._logits:
            self._logits.move_to_end(key)
        return self._logits.get(key)

    def _run(self, rules: FaultyNetwork, sample: Sample) -> list[np.ndarray]:
        from u2net_zoo import torch_model

        self._model = self._model or torch_model.build(self.checkpoint)
        self.runs += 1
        report(f"looking for the reason, run {self.runs}")
        height, width = sample.x.shape[2:]
        self.left -= flops(self.checkpoint.arch, (height, width))
        return rules.logits(self.checkpoint, sample, self._model)


def _rules(group: Sequence[KnownFault]) -> FaultyNetwork:
    rules = group[0].rules
    for suspect in group[1:]:
        rules = rules.and_(suspect.rules)
    return rules


def _key(rules: FaultyNetwork, sample: Sample) -> Hashable:
    """Of a run: what is done to its maps afterwards is not part of it."""
    inner = replace(rules, final=None, answer=None)
    return inner, hashlib.sha256(np.ascontiguousarray(sample.x).data).digest(), sample.peak, sample.profile

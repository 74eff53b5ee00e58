"""Masks of the next frames are worked on meanwhile: each frame keeps its own, in order, and few are held."""

import time

import numpy as np
import pytest
from PIL import Image
from support.networks import TINY, hard_checkpoint

from converters.torch_predictor import TorchPredictor
from u2net_zoo.apps.video import ahead
from u2net_zoo.apps.video.reading import Frame
from u2net_zoo.errors import ArtifactError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.session import MaskSession

PACKET = object()
SIZE = (32, 32)


class Uneven(TorchPredictor):
    """Earlier frames take longer, so that answers come out of order; two lanes, or several at once."""

    def __init__(self, together: int):
        super().__init__(hard_checkpoint(TINY))
        self.together, self.shapes = together, []

    def share(self, lanes: int) -> int:
        return lanes

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        self.shapes.append(len(x))
        time.sleep(0.02 if len(self.shapes) % 2 else 0)
        return super().compute(x)


def frame(seed: int) -> Frame:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 40, 3), np.uint8)
    return Frame(Image.fromarray(pixels), pts=seed, duration=1)


@pytest.mark.parametrize(("together", "sizes"), [(1, {1}), (3, {3, 1})])
def test_each_frame_keeps_its_own_mask_in_order(together, sizes):
    session = MaskSession(Uneven(together), PROFILES["paper"], size=SIZE)
    items = [frame(n) if n % 3 else PACKET for n in range(11)]  # 7 frames among packets
    found = list(ahead.masked(items, session))
    assert [item for item, _ in found] == items
    for item, mask in found:
        assert (mask is None) == (item is PACKET)
        if mask is not None:  # a batch may round the last digit otherwise
            apart = np.abs(np.asarray(mask, int) - np.asarray(session.mask(item.image), int))
            assert apart.max() <= 1
    assert set(session.predictor.shapes[: 7 if together == 1 else 3]) == sizes


def test_few_frames_are_held_at_once():
    taken, session = [], MaskSession(Uneven(1), PROFILES["paper"], size=SIZE)

    def frames():
        for n in range(20):
            taken.append(n)
            yield frame(n)

    ahead_of = [len(taken) - done for done, _ in enumerate(ahead.masked(frames(), session))]
    assert 1 < max(ahead_of) <= ahead.lanes() + ahead.AHEAD + 1


def test_a_network_of_classes_is_refused():
    from dataclasses import replace

    arch = replace(TINY, out_ch=4, final="none")
    session = MaskSession(TorchPredictor(hard_checkpoint(arch)), PROFILES["cloth"], size=SIZE)
    with pytest.raises(ArtifactError, match="the model answers classes; a video needs"):
        list(ahead.masked([frame(0)], session))


def test_sound_behind_the_last_frame_is_not_held():
    taken, session = [], MaskSession(Uneven(1), PROFILES["paper"], size=SIZE)

    def items():
        yield frame(0)
        for n in range(5000):
            taken.append(n)
            yield PACKET

    held = [len(taken) - done for done, _ in enumerate(ahead.masked(items(), session))]
    assert len(held) == 5001
    assert max(held) <= (ahead.lanes() + ahead.AHEAD + 2) * ahead.MOST

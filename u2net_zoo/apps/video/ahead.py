"""Masks of a video's frames in order, while the next ones are worked on."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PIL import Image

from ...errors import ArtifactError
from ...session import MaskSession
from ..batch.local import lanes
from .reading import Frame

__all__ = ["masked"]

MOST = 64  # items of a group: sound that goes on behind the last frame is not held
AHEAD = 1  # groups of frames beyond those in the model: one is decoded while another is drawn and encoded


def masked(items: Iterable[Any], session: MaskSession) -> Iterator[tuple[Any, Image.Image | None]]:
    """Every item of a video with its mask ("L"), None for what is no frame; in the order in which they came.

    As many frames are in the model at once as it takes: in lanes, or together on a GPU. Memory is that of a few frames.

    Raises:
        ArtifactError: the model answers classes.
    """
    together = session.predictor.together
    count = session.predictor.share(lanes()) if together == 1 and lanes() > 1 else 1
    waiting: deque[tuple[list[Any], Future[list[Image.Image]]]] = deque()
    threads = ThreadPoolExecutor(count, thread_name_prefix="lane")
    try:
        for group in _groups(items, together):
            frames = [item.image for item in group if isinstance(item, Frame)]
            waiting.append((group, threads.submit(_masks, session, frames)))
            if len(waiting) > count + AHEAD:
                yield from _paired(*waiting.popleft())
        while waiting:
            yield from _paired(*waiting.popleft())
    finally:
        threads.shutdown(cancel_futures=True)


def _groups(items: Iterable[Any], together: int) -> Iterator[list[Any]]:
    """The items, `together` frames at most in each group and what comes between them, `MOST` items at most."""
    group: list[Any] = []
    frames = 0
    for item in items:
        group.append(item)
        frames += isinstance(item, Frame)
        if frames == together or len(group) == MOST:
            yield group
            group, frames = [], 0
    if group:
        yield group


def _masks(session: MaskSession, frames: list[Image.Image]) -> list[Image.Image]:
    preparation = session.preparation
    answers = session.answers([preparation.input(frame) for frame in frames]) if frames else []
    masks = [preparation.mask(answer, frame.size) for answer, frame in zip(answers, frames, strict=True)]
    if any(mask.mode != "L" for mask in masks):
        raise ArtifactError("the model answers classes; a video needs a model that answers one mask")
    return masks


def _paired(group: list[Any], masks: "Future[list[Image.Image]]") -> Iterator[tuple[Any, Image.Image | None]]:
    found = iter(masks.result())
    for item in group:
        yield item, next(found) if isinstance(item, Frame) else None

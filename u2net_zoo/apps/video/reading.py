"""A video's frames upright in RGB and its sound's packets, in the order of the file, one at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...errors import VideoError, one_line
from .colour import Colour, orientation, upright

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["Facts", "Frame", "VideoReader"]

MISSING = 0.25  # seconds, or two frames, by which a file may end before its header says so
STATES_LENGTH = {"mov", "mp4", "matroska", "webm"}  # formats whose header knows the length; others guess it
LOCAL = {"protocol_whitelist": "file"}  # a playlist may not send us to the network
EARLY = 10_000  # packets of sound before the first frame; a file with more has no picture worth waiting for


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        image: "RGB", upright.
        pts, duration: in the reader's `time_base`; pts counts from the file's start and grows from frame to frame.
    """

    image: Image.Image
    pts: int
    duration: int


@dataclass(frozen=True)
class Facts:
    """What holds for the whole video.

    Attributes:
        codec: the video's, such as `h264`.
        size: (W, H), upright.
        time_base: seconds per tick of `Frame.pts`.
        rate: frames per second on average.
        total: about how many frames there should be; None where the file does not say.
        aspect: a pixel's width over its height, upright.
        colour: how its numbers mean colours.
    """

    codec: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    total: int | None
    aspect: Fraction
    colour: Colour


class VideoReader:
    """An opened video; `with VideoReader(path) as reader`.

    Attributes:
        facts: see `Facts`.
        sound: the audio streams.
        start: seconds at which the file's clock starts; what comes out counts from there.

    Raises:
        VideoError: it is no video, has no picture, or is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise VideoError(f"{path}: no such file")
        self.container = self._open()
        try:
            with self._translate_errors():
                self._inspect()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def _open(self) -> "InputContainer":
        import av

        with self._translate_errors():
            return av.open(f"file:{self.path}", options=LOCAL, metadata_errors="replace")

    def _inspect(self) -> None:
        self.stream = self._picture()
        self.sound = [stream for stream in self.container.streams.audio if stream.codec_context is not None]
        self.start = max(Fraction(self.container.start_time or 0, 1_000_000), Fraction(0))
        with contextlib.closing(self._open()) as other:  # looked at apart, so that reading starts at the beginning
            frame = self._decode_first(other)
        self.turn = orientation(frame)
        self.facts = self._facts(frame)
        self.stream.thread_type = "AUTO"

    def _picture(self) -> "VideoStream":
        """The first stream of moving pictures; a song's cover is none. Raises VideoError."""
        from av.stream import Disposition

        for stream in self.container.streams.video:
            if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
                return stream
        kinds = ", ".join(stream.type for stream in self.container.streams) or "nothing"
        raise VideoError(f"{self.path}: holds no video stream, but {kinds}")

    def _decode_first(self, container: "InputContainer") -> "VideoFrame":
        stream = container.streams.video[self.container.streams.video.index(self.stream)]
        for count, packet in enumerate(container.demux(stream)):
            for frame in stream.decode(packet):
                return frame
            if count > EARLY:
                break
        raise VideoError(f"{self.path}: the video stream holds no frame that can be decoded")

    def _facts(self, frame: "VideoFrame") -> Facts:
        sides = (frame.width, frame.height)
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        seconds = self.container.duration / 1_000_000 if self.container.duration else None
        return Facts(
            codec=self.stream.codec_context.codec.canonical_name,
            size=sides[::-1] if self.turn[0] else sides,
            time_base=self.stream.time_base or 1 / rate,
            rate=rate,
            total=round(seconds * rate) if seconds else self.stream.frames or None,
            aspect=1 / aspect if self.turn[0] else aspect,
            colour=Colour.of(frame),
        )

    def __iter__(self) -> "Iterator[Frame | Packet]":
        """Frames, and the packets of `sound`, their times counted from `start`. Raises VideoError at damage."""
        end, last = Fraction(0), -1
        step = max(1, round(1 / (self.facts.rate * self.facts.time_base)))
        with self._translate_errors():
            for packet in self.container.demux([self.stream, *self.sound]):
                if packet.is_corrupt:
                    raise VideoError(f"{self.path}: damaged or cut short at {float(end):.2f} s; nothing was kept")
                end = max(end, _end(packet))
                if packet.stream is not self.stream:
                    yield from self._sound(packet)
                    continue
                for frame in self.stream.decode(packet):
                    pts = last + step if frame.pts is None else frame.pts - self._ticks(packet.stream)
                    last = max(pts, last + 1)  # encoders refuse times that do not grow
                    yield Frame(self._image(frame), last, frame.duration or step)
        self._check_end(end)

    def _sound(self, packet: "Packet") -> "Iterator[Packet]":
        """The packet with its times counted from `start`; the empty one that ends a stream is left out."""
        if packet.size:
            ticks = self._ticks(packet.stream)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
            yield packet

    def _ticks(self, stream: Any) -> int:
        return round(self.start / stream.time_base)

    def _image(self, frame: "VideoFrame") -> Image.Image:
        pixels: np.ndarray = upright(self.facts.colour.decoded(frame), self.turn)
        if pixels.shape[1::-1] != self.facts.size:
            (w, h), (height, width) = self.facts.size, pixels.shape[:2]
            raise VideoError(f"{self.path}: the picture changes from {w}x{h} to {width}x{height}; cut the video there")
        return Image.fromarray(pixels)

    def _check_end(self, end: Fraction) -> None:
        """Raises VideoError when the file ends well before its header says; only pictures and sound are measured."""
        if len(self.container.streams) > 1 + len(self.sound):
            return
        missing = self._stated_duration() - (end - self.start)
        if missing > max(MISSING, float(2 / self.facts.rate)):
            raise VideoError(
                f"{self.path}: cut short: it ends {float(missing):.2f} s before its header says; nothing was kept"
            )

    def _stated_duration(self) -> Fraction:
        """How many seconds the header promises; 0 where FFmpeg only guesses, as it does for AVI by the file's size."""
        name = self.container.format.name
        if name == "avi":
            return self.stream.frames * (self.stream.time_base or Fraction(0))
        known = STATES_LENGTH & set(name.split(","))
        return Fraction(self.container.duration or 0, 1_000_000) if known else Fraction(0)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """FFmpeg's errors as ours, in one line."""
        from av.error import FFmpegError

        try:
            yield
        except FFmpegError as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise VideoError(f"{self.path}: not a video that can be read, or damaged: {reason}") from None


def _end(packet: "Packet") -> Fraction:
    """Seconds at which the packet's content ends; 0 where it does not say."""
    if packet.pts is None or not packet.time_base:
        return Fraction(0)
    return (packet.pts + (packet.duration or 0)) * packet.time_base

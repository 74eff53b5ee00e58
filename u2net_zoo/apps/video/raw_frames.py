"""Frames without a container, as `ffmpeg -f rawvideo` writes and takes them: in order, in little memory."""

import errno
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from PIL import Image

from ...errors import OptionError, OutputError, VideoError
from ...limits import check_pixels
from ...session import MaskSession
from .ahead import masked
from .looks import Look
from .reading import Frame
from .smoothing import Smoother

__all__ = ["ASK", "PIXELS", "RawFrames", "parse_frame_size", "run_frames"]

ASK = "pipe rgb24 frames in: ffmpeg … -f rawvideo -pix_fmt rgb24 -"
CHANNELS = 3  # of rgb24, which comes in
PIXELS = {"L": "gray", "RGB": "rgb24", "RGBA": "rgba"}  # FFmpeg's names of what goes out


def parse_frame_size(text: str) -> tuple[int, int]:
    """(W, H) of `640x360`, width first, as FFmpeg writes it. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text.strip().lower())
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(size):
        raise OptionError(f"--size {text!r}: allowed is WIDTHxHEIGHT in whole numbers from 1, such as 1280x720")
    check_pixels(size, f"--size {text}")
    return size


class RawFrames:
    """The frames of a stream of rgb24, each read when it is asked for.

    Args:
        stream: buffered, so that a read comes back short at the end alone.

    Attributes:
        count: frames that came whole.
        rest: bytes behind them, of a frame that is not whole.
    """

    def __init__(self, stream: BinaryIO, size: tuple[int, int]):
        self.stream, self.size, self.bytes = stream, size, size[0] * size[1] * CHANNELS
        self.count = self.rest = 0

    def __iter__(self) -> Iterator[Frame]:
        while len(data := self.stream.read(self.bytes)) == self.bytes:
            yield Frame(Image.frombytes("RGB", self.size, data), self.count, 1)
            self.count += 1
        self.rest = len(data)

    def check_end(self) -> None:
        """Raises VideoError: the stream was empty, or its last frame is not whole."""
        w, h = self.size
        if self.rest:
            raise VideoError(
                f"standard input: frame {self.count + 1} has {self.rest} of {self.bytes} bytes, {w}x{h} in rgb24; "
                "the stream was cut short, or has another size or pixel format"
            )
        if not self.count:
            raise VideoError(f"standard input: not one frame came; {ASK}")


def run_frames(
    source: BinaryIO,
    target: BinaryIO,
    size: tuple[int, int],
    session: MaskSession,
    look: Look,
    smoother: Smoother,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[int, str]:
    """Reads frames until the source ends, writes as many; how many, and FFmpeg's name of their pixels.

    Frames before one that is not whole are written.

    Raises:
        VideoError: see `RawFrames.check_end`. OutputError: nobody takes what is written.
        ArtifactError: the model answers classes.
    """
    frames, done, pixels = RawFrames(source, size), 0, ""
    for frame, mask in masked(frames, session):
        picture = look.draw(frame.image, smoother(frame.image, cast(Image.Image, mask)))  # no item is but a frame
        _write(target, memoryview(picture.tobytes()))
        done, pixels = done + 1, PIXELS[picture.mode]
        progress(done)
    frames.check_end()
    return done, pixels


def _write(target: BinaryIO, data: memoryview) -> None:
    try:
        while data:
            data = data[target.write(data) :]
    except OSError as error:
        gone = error.errno in (errno.EPIPE, errno.EINVAL)  # the second is Windows' word for it
        reason = "whoever took the frames has gone" if gone else f"{error.strerror}; send the frames elsewhere"
        raise OutputError(f"standard output: {reason}") from None

"""YCbCr and back with the source's own matrix and range, and frames the right way up."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.codeccontext import VideoCodecContext

__all__ = ["Colour", "orientation", "upright"]

# ITU-T H.273's numbers, which FFmpeg uses.
RGB, UNSPECIFIED, BT601, BT709 = 0, 2, 6, 1
LIMITED, FULL = 1, 2  # FFmpeg's AVColorRange
# H.273's matrix coefficients to swscale's own numbers; another matrix is read as the one its size suggests.
SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


@dataclass(frozen=True)
class Colour:
    """How a video's numbers mean colours; each is a number of H.273, 2 where the file does not say.

    Attributes:
        matrix: YCbCr's coefficients, always known.
        range: FFmpeg's: 1 limited (16..235), 2 full (0..255).
    """

    matrix: int
    range: int
    primaries: int
    transfer: int

    @staticmethod
    def of(frame: "VideoFrame") -> "Colour":
        """A frame's; where it does not say, BT.709 from HD on and BT.601 below, limited, as players assume."""
        guess = BT709 if frame.width >= 1280 or frame.height > 576 else BT601
        matrix = frame.colorspace if frame.colorspace in SWSCALE else guess
        full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
        limited = not full or _is_rgb(frame)
        return Colour(matrix, LIMITED if limited else FULL, frame.color_primaries, frame.color_trc)

    def decoded(self, frame: "VideoFrame") -> np.ndarray:
        """The frame in 8-bit RGB, (H, W, 3) uint8."""
        source = {} if _is_rgb(frame) else {"src_colorspace": SWSCALE[self.matrix], "src_color_range": self.range}
        return frame.reformat(format="rgb24", dst_color_range=FULL, interpolation=_scaling(), **source).to_ndarray()

    def encoded(self, picture: Image.Image, pixels: str) -> "VideoFrame":
        """An "RGB" or "RGBA" picture as a frame of the pixel format `pixels`, tagged."""
        from av import VideoFrame

        frame = VideoFrame.from_ndarray(np.asarray(picture), "rgba" if picture.mode == "RGBA" else "rgb24")
        result = frame.reformat(
            format=pixels, dst_colorspace=SWSCALE[self.matrix], src_color_range=FULL, dst_color_range=self.range,
            interpolation=_scaling(),
        )  # fmt: skip
        self.tag(result)
        return result

    def tag(self, target: "VideoFrame | VideoCodecContext") -> None:
        """Writes the four numbers down on a frame or an encoder."""
        target.colorspace, target.color_range = self.matrix, self.range
        target.color_primaries, target.color_trc = self.primaries, self.transfer


def _is_rgb(frame: "VideoFrame") -> bool:
    return frame.colorspace == RGB or frame.format.is_rgb


def _scaling() -> Any:
    """Bicubic, rounded rather than truncated, chroma interpolated at full resolution."""
    from av.video.reformatter import Interpolation as Sws

    return Sws.BICUBIC | Sws.ACCURATE_RND | Sws.FULL_CHR_H_INT | Sws.FULL_CHR_H_INP


def orientation(frame: "VideoFrame") -> tuple[bool, bool, bool]:
    """(transpose, flip horizontally, flip vertically), in this order, that bring a frame upright.

    From the display matrix that phones write: nine int32, of which x' = a x + c y and y' = b x + d y are
    numbers 0 (a), 1 (b), 3 (c) and 4 (d) in 16.16. Source: ISO/IEC 14496-12, `matrix` of the track header.
    """
    from av.sidedata.sidedata import Type

    held: Any = frame.side_data  # its iterator gives the data, whatever its type says
    for data in held:
        if data.type == Type.DISPLAYMATRIX:
            a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
            turned = abs(b) > abs(a)
            return (True, c < 0, b < 0) if turned else (False, a < 0, d < 0)
    return (False, False, False)


def upright(pixels: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    """(H, W, 3), or (W, H, 3) where it lay on its side, as `orientation` says."""
    transpose, left_right, up_down = turn
    pixels = pixels.swapaxes(0, 1) if transpose else pixels
    pixels = pixels[:, ::-1] if left_right else pixels
    return np.ascontiguousarray(pixels[::-1] if up_down else pixels)

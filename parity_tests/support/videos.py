"""What the tests of videos share: short real ones (a photograph under a moving camera, a tone), and a quick session."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from u2net_zoo.preprocessing import get_profile
from u2net_zoo.session import MaskSession
from u2net_zoo.sources import locate

av = pytest.importorskip("av", reason="needs the extra video")

ALONE = os.environ | {"OMP_NUM_THREADS": "1"}  # the same for processes of their own
RATE = 48_000
TICK = Fraction(1, 1000)
UNEVEN = (0, 40, 80, 100, 180, 200, 300, 340, 380, 460, 500, 560)  # milliseconds: a variable frame rate
SWS = av.video.reformatter.Interpolation
BEST = SWS.BICUBIC | SWS.ACCURATE_RND | SWS.FULL_CHR_H_INT | SWS.FULL_CHR_H_INP  # without: 2 levels too dark


def view(i: int, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    """What the camera sees in frame i: (H, W, 3) uint8, two pixels of the photograph for one; it comes back at 40."""
    from skimage.data import astronaut

    w, x = size[0], 8 + 4 * min(i % 80, 80 - i % 80)
    h = size[1]
    return np.ascontiguousarray(astronaut()[: 2 * h : 2, x : x + 2 * w : 2])


def film(
    path: Path, times: Sequence[int] = UNEVEN, *, codec="libx264", pixels="yuv420p", sound: str | None = "aac",
    views=None, size=(160, 120), rotation: tuple[float, bool] = (0, False), colour: tuple[int, int] = (1, 1),
) -> Path:  # fmt: skip
    """Writes frames at `times` (milliseconds), each 40 ms long, nearly lossless; colour is (matrix, range)."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "4"} if codec == "libx264" else {})
        stream.pix_fmt = pixels
        stream.width, stream.height = size if views is None else views[0].shape[1::-1]
        stream.codec_context.time_base = TICK
        stream.codec_context.colorspace, stream.codec_context.color_range = colour
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration
        if rotation != (0, False):
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        tone_to = out.add_stream(sound, rate=RATE, layout="mono") if sound else None
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(view(i, size) if views is None else views[i], "rgb24").reformat(
                format=pixels,
                dst_colorspace=colour[0],
                src_color_range=2,
                dst_color_range=colour[1],
                interpolation=BEST,
            )
            frame.pts, frame.time_base, frame.duration = time, TICK, 40
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone_to:
            hum(out, tone_to, (times[-1] + 40) * RATE // 1000)
    return path


def hum(out, stream, samples: int) -> None:
    """A tone of 440 Hz."""
    tone = (np.sin(np.arange(samples) / RATE * 2 * np.pi * 440) * 8000).astype(np.int16)[None]
    for start in range(0, samples, 1024):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, start : start + 1024]), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def frames(path: Path, decoder: str | None = None) -> list:
    """Every frame; `decoder` is for alpha in WebM, which FFmpeg's own VP9 decoder does not look at."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        if decoder is None:
            return list(source.decode(stream))
        context = av.CodecContext.create(decoder, "r")
        return [f for p in source.demux(stream) for f in context.decode(p if p.size else None)]


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    return [frame.pts * frame.time_base for frame in frames(path)]


def pictures(path: Path) -> list[Image.Image]:
    """Every frame in RGB."""
    return [Image.fromarray(f.reformat(format="rgb24", dst_color_range=2, interpolation=BEST).to_ndarray())
            for f in frames(path)]  # fmt: skip


def levels(path: Path) -> list[np.ndarray]:
    """Every frame's luma as grey levels, (H, W) float64 in 0..255, from 8 or 10 bits of limited range."""
    found = []
    for frame in frames(path):
        kind, unit = (np.uint16, 4) if "10" in frame.format.name else (np.uint8, 1)
        luma = np.frombuffer(frame.planes[0], kind).reshape(frame.height, -1)[:, : frame.width] / unit
        found.append((luma - 16) / 219 * 255)
    return found


def sound_of(path: Path) -> list[bytes]:
    """The packets of the sound."""
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(source.streams.audio[0]) if packet.size]


def samples_of(path: Path) -> int:
    """How many samples of sound decode."""
    with av.open(str(path)) as source:
        return sum(frame.samples for frame in source.decode(source.streams.audio[0]))


def psnr(a, b) -> float:
    """10 log10(255² / mean squared difference) of two 8-bit pictures, in dB."""
    error = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def quick_session(side: int = 64) -> MaskSession:
    """The bundled network in Torch, fed small squares: the same code, a hundredth of the time."""
    predictor = TorchPredictor(read_source(locate("u2net_nano").path), fold=True)
    predictor.default = (side, side)
    return MaskSession(predictor, get_profile("paper"))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Torch's threads wait by spinning; beside the encoders' threads and other tests that costs ten times the time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def session():
    return quick_session()


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return film(tmp_path_factory.mktemp("source") / "in.mp4")


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}

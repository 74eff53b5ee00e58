"""Where frames go: a container (one row of `CONTAINERS` each) or a folder of PNG files."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from PIL import Image

from ...errors import OptionError, OutputError
from .colour import LIMITED, Colour
from .reading import Facts, Frame
from .sound import Sound, carry

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream

__all__ = ["CONTAINERS", "Container", "ContainerWriter", "Encoding", "FolderWriter", "Writer", "container_for"]


@dataclass(frozen=True)
class Encoding:
    """An encoder of FFmpeg's, the pixel format that it takes, and its options."""

    codec: str
    pixels: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """What a kind of file holds.

    Attributes:
        muxer: FFmpeg's name of the format.
        opaque, alpha: how pictures without and with alpha are encoded; None: it has no place for alpha.
        copies: codecs of sound that are copied. FFmpeg's own list of what a container takes is too long: it names Opus
            for .mov and PCM for .mp4, and then refuses to write them.
        audio: the encoder for all other sound.
        even: sides must be even, as chroma has half of them.
        limited: the codec has no full range (0..255) for luma.
    """

    muxer: str
    opaque: Encoding
    alpha: Encoding | None
    copies: tuple[str, ...]
    audio: str
    even: bool = False
    limited: bool = False
    options: dict[str, str] = field(default_factory=dict)


# Constant quality that is hard to tell from the source; libvpx's alpha needs its alternate reference frames off
# (libavcodec/libvpxenc.c refuses them together). ProRes' profiles: 3 is 422 HQ, 4 is 4444.
VP9 = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
CONTAINERS = {
    ".mp4": Container(
        "mp4",
        Encoding("libx264", "yuv420p", {"crf": "18"}),
        None,
        ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"),
        "aac",
        even=True,
        options={"movflags": "faststart"},
    ),
    ".mov": Container(
        "mov",
        Encoding("prores_ks", "yuv422p10le", {"profile": "3"}),
        Encoding("prores_ks", "yuva444p10le", {"profile": "4", "alpha_bits": "16"}),
        ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"),
        "pcm_s16le",
        limited=True,
    ),
    ".webm": Container(
        "webm",
        Encoding("libvpx-vp9", "yuv420p", VP9),
        Encoding("libvpx-vp9", "yuva420p", VP9 | {"auto-alt-ref": "0"}),
        ("opus", "vorbis"),
        "libopus",
    ),
}
SOUND = "audio.mka"  # Matroska takes every usual codec
TIMES = "timestamps.txt"


def container_for(target: Path, alpha: bool) -> Container | None:
    """The kind of file that `target` names; None for a folder.

    Raises:
        OptionError: its suffix is not known, or it has no place for alpha. OutputError: FFmpeg lacks the encoder.
    """
    suffix = target.suffix.lower()
    if not suffix or target.is_dir():
        return None
    if suffix not in CONTAINERS:
        kinds = ", ".join(sorted(CONTAINERS))
        raise OptionError(f"{target}: unknown suffix {suffix!r}; videos are {kinds}, a name without one is a folder")
    container = CONTAINERS[suffix]
    encoding = container.alpha if alpha else container.opaque
    if encoding is None:
        raise OptionError(
            f"{target}: {suffix} has no place for transparency; name a .mov, a .webm or a folder, or --show replace"
        )
    _require_encoder(encoding.codec)
    return container


def _require_encoder(codec: str) -> None:
    """Raises OutputError when PyAV's FFmpeg was built without an encoder."""
    if not _has_encoder(codec):
        usable = [suffix for suffix, kind in CONTAINERS.items() if _has_encoder(kind.opaque.codec)]
        raise OutputError(f"PyAV's FFmpeg has no encoder {codec}; it writes {', '.join([*usable, 'and folders'])}")


def _has_encoder(codec: str) -> bool:
    from av.codec.codec import Codec, UnknownCodecError

    try:
        return bool(Codec(codec, "w"))
    except UnknownCodecError:
        return False


class Writer(ABC):
    """Takes frames and the source's sound in the order of the file; finishes when its `with` block succeeds.

    Attributes:
        sound: what became of each audio stream.
        padded: a last row or column was repeated, for the encoder takes even sides only.
    """

    padded = False
    tracks: dict[int, Sound]

    @property
    def sound(self) -> list[dict[str, str]]:
        return [track.facts for track in self.tracks.values()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()

    @abstractmethod
    def frame(self, frame: Frame) -> None:
        """One frame, its picture "L", "RGB" or "RGBA"."""

    def packet(self, packet: "Packet") -> None:
        """One packet of the source's sound."""
        self.tracks[packet.stream.index].feed(packet)

    @abstractmethod
    def finish(self) -> None:
        """What the encoders still hold is written, and the file closed."""

    @abstractmethod
    def abandon(self) -> None:
        """Lets go of a file that will not be kept."""


class ContainerWriter(Writer):
    """Encodes into a file at `path`. Frames have the source's times, to the container's own tick.

    That is exact in .mp4 and .mov; WebM counts in milliseconds.
    """

    def __init__(self, path: Path, kind: Container, facts: Facts, alpha: bool, audio: "Sequence[AudioStream]"):
        import av

        encoding = kind.alpha if alpha and kind.alpha else kind.opaque
        self.output = av.open(f"file:{path}", "w", format=kind.muxer, container_options=dict(kind.options))
        self.pixels, self.colour = encoding.pixels, _with_range(facts.colour, kind)
        w, h = facts.size
        self.size = (w + w % 2, h + h % 2) if kind.even else facts.size
        self.padded = self.size != facts.size
        try:
            self.stream = self._stream(encoding, facts)
            self.tracks = {stream.index: carry(self.output, stream, kind.copies, kind.audio) for stream in audio}
        except BaseException:
            self.abandon()
            raise

    def _stream(self, encoding: Encoding, facts: Facts) -> Any:
        from av.codec.context import Flags

        stream: Any = self.output.add_stream(encoding.codec, rate=facts.rate, options=dict(encoding.options))
        stream.width, stream.height = self.size
        stream.pix_fmt = encoding.pixels
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = facts.time_base, facts.aspect
        context.flags |= Flags.frame_duration  # otherwise the last frame's duration is guessed
        self.time_base = facts.time_base
        self.colour.tag(context)
        return stream

    def frame(self, frame: Frame) -> None:
        picture = frame.image.convert("RGB") if frame.image.mode == "L" else frame.image
        picture = _pad(picture, self.size) if self.padded else picture
        encoded = self.colour.encoded(picture, self.pixels)
        encoded.pts, encoded.duration, encoded.time_base = frame.pts, frame.duration, self.time_base
        self.output.mux(self.stream.encode(encoded))

    def finish(self) -> None:
        self.output.mux(self.stream.encode(None))
        for track in self.tracks.values():
            track.finish()
        self.output.close()

    def abandon(self) -> None:
        _close(self.output)


def _with_range(colour: Colour, kind: Container) -> Colour:
    return Colour(colour.matrix, LIMITED, colour.primaries, colour.transfer) if kind.limited else colour


def _pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at an even size, its last row or column repeated."""
    import numpy as np

    pixels = np.asarray(image)
    return Image.fromarray(np.pad(pixels, ((0, size[1] - image.height), (0, size[0] - image.width), (0, 0)), "edge"))


class FolderWriter(Writer):
    """Frames as `000001.png` … in a folder, their times in `timestamps.txt`, the sound in `audio.mka`.

    The times are in mkvmerge's "timestamp format v2": one number of milliseconds per line.
    """

    def __init__(self, path: Path, facts: Facts, audio: "Sequence[AudioStream]"):
        import av

        path.mkdir()
        self.path, self.tick, self.count = path, facts.time_base, 0
        self.times = (path / TIMES).open("w", encoding="ascii")
        self.times.write("# timestamp format v2\n")
        self.output = av.open(f"file:{path / SOUND}", "w", format="matroska") if audio else None
        self.tracks = {}
        if self.output:
            copies = self.output.supported_codecs
            self.tracks = {stream.index: carry(self.output, stream, copies, "flac") for stream in audio}

    def frame(self, frame: Frame) -> None:
        self.count += 1
        frame.image.save(self.path / f"{self.count:06d}.png", compress_level=3)
        self.times.write(f"{float(frame.pts * self.tick * 1000):.6f}".rstrip("0").rstrip(".") + "\n")

    def finish(self) -> None:
        self.times.close()
        for track in self.tracks.values():
            track.finish()
        if self.output:
            self.output.close()

    def abandon(self) -> None:
        self.times.close()
        if self.output:
            _close(self.output)


def _close(output: Any) -> None:
    """Closes a file that will not be kept; that its trailer cannot be written does not matter."""
    import contextlib

    from av.error import FFmpegError

    with contextlib.suppress(FFmpegError, ValueError):
        output.close()

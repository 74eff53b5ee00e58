"""One video from file to file: checked first, then run frame by frame at a constant memory."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError, OutputError
from ...files import staged
from ...session import MaskSession
from ...system import same_file
from .ahead import masked
from .looks import Look, look
from .reading import Facts, VideoReader
from .smoothing import Smoother
from .writing import Container, ContainerWriter, FolderWriter, container_for

__all__ = ["Summary", "VideoJob"]

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Summary:
    """What was written; fields are ready for JSON.

    Attributes:
        frames, seconds, fps: how many frames, how long they play, and how many play in a second on average.
        size: (W, H) of the output.
        codec: the output's; `png` for a folder.
        audio: per audio stream its codec, and `copied` or `encoded`.
        cuts: scene cuts at which the smoothing started anew.
        padded: the last row or column was repeated, as the codec takes even sides only.
        took: seconds that the run took.
    """

    frames: int
    seconds: float
    fps: float
    size: tuple[int, int]
    codec: str
    audio: list[dict[str, str]]
    cuts: int
    padded: bool
    took: float


@dataclass(frozen=True)
class VideoJob:
    """A video in, a video or a folder of PNG files out.

    Attributes:
        source: a video of any kind that FFmpeg reads.
        target: `.mp4`, `.mov` or `.webm`; a name without a suffix is a folder of PNG files.
        show: `cutout` (with alpha), `replace` (before `background`) or `mask`.
        background: see `replace.parse_background`.
        smooth: see `Smoother`.
        audio: keep the sound.

    Raises:
        UsageError: PyAV is missing, an option is wrong, or the target cannot hold what is asked for.
        OutputError: the target is the source, a folder with files in it, or a file where a folder is meant.
        VideoError: the source is no video.
    """

    source: str | Path
    target: str | Path
    show: str = "cutout"
    background: str | None = None
    smooth: float = 0.0
    audio: bool = True
    look: Look = field(init=False)
    kind: Container | None = field(init=False)

    def __post_init__(self) -> None:
        if find_spec("av") is None:
            raise MissingExtraError("video", "av", "video")
        Smoother(self.smooth)
        target = Path(self.target)
        if same_file(target, Path(self.source)):
            raise OutputError(f"{target}: would replace the video that is read; name another file with -o")
        object.__setattr__(self, "look", look(self.show, self.background))
        object.__setattr__(self, "kind", container_for(target, self.look.alpha))
        if self.kind is None:
            _check_folder(target)
        VideoReader(self.source).container.close()

    def run(self, session: MaskSession, progress: Progress = lambda done, total: None) -> Summary:
        """Writes the target, whole or not at all; `progress` hears of each frame: how many are done, and of how many.

        Raises:
            VideoError: the source is damaged or cut short. OutputError: the target cannot be written.
            ArtifactError: the model answers classes.
        """
        start = time.perf_counter()
        smoother = Smoother(self.smooth)
        with VideoReader(self.source) as reader, staged(self.target) as path, self._translate_errors():
            audio = reader.sound if self.audio else []
            with self._writer(path, reader.facts, audio) as writer:
                count, end = self._frames(reader, writer, session, smoother, progress)
        return self._summary(reader.facts, writer, count, end, smoother.cuts, time.perf_counter() - start)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """FFmpeg's errors as ours; those of reading are already."""
        from av.error import FFmpegError

        try:
            yield
        except FFmpegError as error:
            raise OutputError(f"{self.target}: cannot be written: {error.strerror or error}") from None

    def _writer(self, path: Path, facts: Facts, audio: list) -> "ContainerWriter | FolderWriter":
        if self.kind is None:
            return FolderWriter(path, facts, audio)
        return ContainerWriter(path, self.kind, facts, self.look.alpha, audio)

    def _frames(
        self, reader: VideoReader, writer: Any, session: MaskSession, smoother: Smoother, progress: Progress
    ) -> tuple[int, Fraction]:
        """How many frames went through, and how many seconds they play."""
        count, first, end = 0, None, 0
        for item, found in masked(reader, session):
            if found is None:
                if self.audio:
                    writer.packet(item)
                continue
            mask = smoother(item.image, found)
            writer.frame(replace(item, image=self.look.draw(item.image, mask)))
            first, end = item.pts if first is None else first, item.pts + item.duration
            count += 1
            progress(count, reader.facts.total)
        return count, (end - (first or 0)) * reader.facts.time_base

    def _summary(self, facts: Facts, writer: Any, count: int, end: Fraction, cuts: int, took: float) -> Summary:
        codec = writer.stream.codec_context.codec.canonical_name if self.kind else "png"
        size = writer.size if self.kind else facts.size
        seconds = round(float(end), 6)
        fps = round(float(count / end), 3) if end else 0.0
        return Summary(count, seconds, fps, size, codec, writer.sound, cuts, writer.padded, round(took, 3))


def _check_folder(target: Path) -> None:
    """Raises OutputError where no folder can take its place."""
    if target.is_dir() and any(target.iterdir()):
        raise OutputError(f"{target}: is a folder with files in it; name a new or an empty one with -o")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file, and a name without a suffix is a folder; name another one with -o")

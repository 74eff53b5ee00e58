"""FFmpeg itself, as people run it."""

import importlib.util
import shutil
from pathlib import Path

import pytest


def ffmpeg() -> str:
    """The program: the system's, or the one that the package imageio-ffmpeg brings; else a skip."""
    if found := shutil.which("ffmpeg"):
        return found
    if importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    pytest.skip("needs the program ffmpeg, or the package imageio-ffmpeg")


def raw(size: tuple[int, int], pixels: str) -> list[str]:
    """Arguments that say what raw video is."""
    return ["-f", "rawvideo", "-pix_fmt", pixels, "-video_size", f"{size[0]}x{size[1]}"]


def lossless(path: Path) -> list[str]:
    return ["-c:v", "ffv1", str(path)]

"""Cameras that Chromium makes up, what they see, and what a page says of them."""

from pathlib import Path

import numpy as np
from PIL import Image
from support.browser import Browser

STATUS = "document.getElementById('status').textContent"
ON = f"!document.getElementById('filming').hidden && {STATUS} === 'The camera is on.'"
OFF = "u2zoo.camera.stream === null && document.getElementById('video').srcObject === null"
COMPLAINT = "document.getElementById('error').textContent"
ASKED = "--use-fake-ui-for-media-stream"  # every question is answered with yes
REFUSED = "--deny-permission-prompts"
FAKE = "--use-fake-device-for-media-stream"
TWO = (ASKED, f"{FAKE}=device-count=2")


def seeing(film: Path) -> tuple[str, ...]:
    """Flags for one camera that sees a film."""
    return (ASKED, FAKE, f"--use-file-for-fake-video-capture={film}")


def filmed(image: Image.Image, path: Path) -> Path:
    """A film of two frames that are the picture, YUV4MPEG2 4:2:0; Chromium shows it over and over. Sides are even."""
    y, cb, cr = image.convert("RGB").convert("YCbCr").split()
    half = (image.width // 2, image.height // 2)
    planes = (y, cb.resize(half, Image.Resampling.BOX), cr.resize(half, Image.Resampling.BOX))
    frame = b"FRAME\n" + b"".join(np.asarray(plane).tobytes() for plane in planes)
    path.write_bytes(f"YUV4MPEG2 W{image.width} H{image.height} F25:1 Ip A1:1 C420\n".encode() + 2 * frame)
    return path


def click(page: Browser, name: str) -> None:
    page.evaluate(f"document.getElementById('{name}').click()")


def next_frame(page: Browser) -> None:
    """Waits for what was begun after now: the frame that is worked on may be older."""
    for _ in range(2):
        page.evaluate("window.seen = u2zoo.camera.mask")
        page.wait_for("u2zoo.camera.mask !== seen")

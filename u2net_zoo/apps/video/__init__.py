"""Video: every frame's mask, and what is made of it, with the sound, the times and the colours of the source.

    VideoJob("in.mp4", "out.webm", smooth=0.5).run(Session("u2netp.onnx"))

    >>> from u2net_zoo.apps.video import LOOKS
    >>> sorted(LOOKS)
    ['cutout', 'mask', 'replace']

Importing this loads no codec; `VideoJob` asks for PyAV (the extra `video`) when it is made.
"""

from .job import Summary, VideoJob
from .looks import LOOKS
from .smoothing import Smoother

__all__ = ["LOOKS", "Smoother", "Summary", "VideoJob"]

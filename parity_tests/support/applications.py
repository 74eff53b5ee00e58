"""Applications that only the tests have; worker processes import them from here."""

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from u2net_zoo.apps.base import Application, Result

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnxruntime", "scipy", "skimage", "cv2")


@dataclass(frozen=True)
class Photograph(Application):
    """The photograph itself, and what its process has loaded."""

    name = "photograph"
    title = "Photographs in, photographs out."

    clear: bool = False

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        if self.clear:
            image = image.convert("RGB")
            image.putalpha(mask)
        loaded = [name for name in FRAMEWORKS if name in sys.modules]
        return Result({"": image, "_mask": mask}, {"loaded": loaded, "process": os.getpid()})


@dataclass(frozen=True)
class Deadly(Application):
    """Masks; a photograph of one pixel kills its process each time, one of two by one pixel the first time."""

    name = "deadly"
    title = "Photographs in, masks out, unless they kill."

    memory: str = ""  # a file that remembers the first time
    needed: str = field(default="", metadata={"file": True})  # a file that has to be found wherever the work is done

    def before(self, image: Image.Image) -> Image.Image:
        if self.needed:
            Path(self.needed).read_bytes()
        first = image.size == (2, 1) and not Path(self.memory).exists()
        if first:
            Path(self.memory).touch()
        if first or image.size == (1, 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return image

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        return Result({"": mask})

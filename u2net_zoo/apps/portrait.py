"""`portrait`: a face drawn in pencil."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..depth import copied
from .base import Application, Result
from .optional import opencv
from .refine import as_rgb

__all__ = ["Portrait", "face_crop", "find_face"]

Face = tuple[int, int, int, int]  # x, y, w, h, as OpenCV gives it
SIDE = 512
BESIDE, ABOVE, BELOW = 0.4, 0.6, 0.2  # how far the crop goes beyond the face, in shares of its width or height
LARGEST = 2**24  # pixels in which a face is looked for; a larger photograph is reduced by a whole number first
DEMO = "portrait-demo"
FACE = "face"  # in the picture's `info`, for `after`


def find_face(image: Image.Image) -> Face | None:
    """The largest face (x, y, w, h) in a photograph of any mode; None where there is none.

    OpenCV's `haarcascade_frontalface_default` with the factor 1.1 and four neighbours, as in the authors'
    u2net_portrait_demo.py; of two faces of one size the first. Raises MissingExtraError.
    """
    cv2 = opencv("face detection")
    photograph = as_rgb(image)
    scale = math.ceil(math.sqrt(max(1.0, photograph.width * photograph.height / LARGEST)))
    seen = photograph if scale == 1 else photograph.reduce(scale)
    finder = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))
    faces = finder.detectMultiScale(cv2.cvtColor(np.asarray(seen), cv2.COLOR_RGB2GRAY), 1.1, 4)
    if len(faces) == 0:
        return None
    x, y, w, h = (int(side) * scale for side in max(faces, key=lambda face: face[2] * face[3]))
    return x, y, w, h


def face_crop(image: Image.Image, face: Face) -> Image.Image:
    """The face with its hair and neck on a white square of 512 pixels, "RGB", as the authors' demo crops it.

    0.4 of the face's width on either side, 0.6 of its height above and 0.2 below, each truncated; white where that
    leaves the photograph, then white on both sides of what is shorter by more than two pixels, half the difference each
    (so a square may be one pixel off); resized by area to 512. Raises MissingExtraError.
    """
    cv2 = opencv("the portrait's crop")
    x, y, w, h = face
    beside, above, below = int(w * BESIDE), int(h * ABOVE), int(h * BELOW)
    window = _crop_on_white(as_rgb(image), (x - beside, y - above, x + w + beside, y + h + below))
    width, height = window.size
    if abs(height - width) > 2:
        across, down = max(0, height - width) // 2, max(0, width - height) // 2
        window = _crop_on_white(window, (-across, -down, width + across, height + down))
    return Image.fromarray(cv2.resize(np.asarray(window), (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _crop_on_white(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """`picture.crop(box)`, white where the box leaves the picture."""
    left, top, right, bottom = box
    canvas = Image.new("RGB", (right - left, bottom - top), "white")
    canvas.paste(picture, (-left, -top))
    return canvas


@dataclass(frozen=True)
class Portrait(Application):
    """Pencil drawings of faces.

    Two ways, as the authors have them: a face is found and cut out first (u2net_portrait_demo.py; the drawing has 512
    by 512 pixels), or the pictures are faces already (`ready`, u2net_portrait_test.py; the drawing has the picture's
    size, and one grey channel where theirs has three equal ones). Where no face is found the whole picture is drawn,
    with a warning, as in the demo, but fed to the network at 512 by 512 like everything else: the demo feeds it at its
    own size, on which the network was not trained.

    The demo also swaps the statistics of red and blue when it normalises, the test does not. So commands feed portrait
    weights by `portrait-demo` and, with `ready`, by `portrait`; `--profile` chooses otherwise. The server takes
    `portrait` for both, and a profile in an artifact's graph stays what it is.
    """

    name = "portrait"
    title = "Draw faces as pencil portraits."
    examples = {
        "Find the face in a photograph and draw it": "u2zoo portrait person.jpg -o drawing.png",
        "Pictures that are square faces already": "u2zoo portrait faces -o drawings --ready",
    }
    model = "u2net_portrait"
    plural = "drawings"
    photographic = False

    ready: bool = field(
        default=False, metadata={"help": "The pictures are faces, cut to a square: draw them as they are."}
    )

    def profile(self, own: str) -> str:
        return DEMO if own == "portrait" and not self.ready else own

    def before(self, image: Image.Image) -> Image.Image:
        if self.ready:
            return image
        face = find_face(image)
        seen = copied(image) if face is None else face_crop(image, face)
        seen.info[FACE] = face
        return seen

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        if self.ready:
            return Result({"": mask})
        face = image.info.get(FACE)
        facts: dict[str, Any] = {"face": face and list(face)}
        if face is None:
            facts["warning"] = "no face was found: the whole picture is drawn"
        return Result({"": mask}, facts)

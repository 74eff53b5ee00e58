"""`boxes`: where the objects are, drawn and as JSON, COCO and CSV."""

import csv as tables
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .base import Result
from .filters import connected_parts
from .refine import HALF, MaskApplication, as_rgb, check_share, foreground_of

__all__ = ["Box", "Boxes", "coco", "csv", "drawn", "objects"]

Entry = tuple[str, tuple[int, int], dict[str, Any]]  # name, size (W, H) and facts of a photograph
COLUMNS = ("image", "width", "height", "x0", "y0", "x1", "y1", "area", "score")
COLOUR = (255, 60, 40)


@dataclass(frozen=True)
class Box:
    """One object.

    Attributes:
        box: x0, y0, x1, y1 in pixels from the top left; x1 and y1 are the first outside, so x1 - x0 is the width.
        area: pixels of the object itself.
        score: mean of the mask over these pixels, in [0, 1].
    """

    box: tuple[int, int, int, int]
    area: int
    score: float


def objects(mask: Image.Image, region: Image.Image | None = None, *, minimum: float = 0.001) -> list[Box]:
    """The objects of a mask: its connected parts, corners count as connected; the largest first.

    Args:
        mask: "L", or a class map "P": everything but the background then.
        region: what counts as object, "L", from one half of 255 on; the mask itself by default.
        minimum: parts with a smaller share of the picture are passed over.
    """
    levels = np.asarray(foreground_of(mask))
    inside = (levels if region is None else np.asarray(region)) >= HALF
    least = minimum * inside.size
    parts = (part for part in connected_parts(inside, levels) if part.area >= least)
    found = [Box(part.box, part.area, round(part.mean / 255, 4)) for part in parts]
    return sorted(found, key=lambda box: (-box.area, box.box))


def drawn(image: Image.Image, boxes: Iterable[Box]) -> Image.Image:
    """The photograph ("RGB") with a frame and the score around each object."""
    picture = as_rgb(image).copy()
    pen = ImageDraw.Draw(picture)
    side = min(picture.size)
    width, font = max(1, side // 100), ImageFont.load_default(max(9, side // 20))
    for box in boxes:
        left, top, right, bottom = box.box
        pen.rectangle((left, top, right - 1, bottom - 1), outline=COLOUR, width=width)
        text = f" {box.score:.2f} "
        plate = pen.textbbox((left, top), text, font=font)
        pen.rectangle(plate, fill=COLOUR)
        pen.text((left, top), text, fill="white", font=font)
    return picture


def coco(entries: Iterable[Entry]) -> str:
    """Objects of many photographs as COCO's JSON for detection: images, annotations, and the one category `object`.

    Boxes are x, y, width, height; `score` is there as in COCO's result files. https://cocodataset.org/#format-data
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (width, height), facts) in enumerate(entries, start=1):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for found in facts["objects"]:
            x0, y0, x1, y1 = found["box"]
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": found["area"], "score": found["score"]}
            annotations.append({**annotation, **box})
    document = {"info": {"description": "Boxes by u2net-zoo"}, "images": images, "annotations": annotations}
    return json.dumps({**document, "categories": [{"id": 1, "name": "object"}]}, indent=1) + "\n"


def csv(entries: Iterable[Entry]) -> str:
    """Objects of many photographs as CSV: a line for each, `COLUMNS`; a photograph without any has no line."""
    text = io.StringIO()
    table = tables.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, size, facts in entries:
        table.writerows((name, *size, *found["box"], found["area"], found["score"]) for found in facts["objects"])
    return text.getvalue()


@dataclass(frozen=True)
class Boxes(MaskApplication):
    """Bounding boxes."""

    name = "boxes"
    title = "Find objects and draw a box around each; also as JSON, COCO and CSV."
    examples = {
        "Draw boxes; boxes.json (COCO) and boxes.csv stand beside the picture": "u2zoo boxes cat.jpg -o boxes.png",
        "Of a folder, without specks": "u2zoo boxes photos -o boxed --minimum 0.01",
    }

    minimum: float = field(
        default=0.001, metadata={"help": "Pass over objects that take less than this share of the photograph."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("--minimum", self.minimum)

    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        """The options decide what is an object; its score is the mask's own, before them."""
        found = objects(mask, self.refined(mask), minimum=self.minimum)
        return Result({"": drawn(image, found)}, {"objects": [{**asdict(box), "box": list(box.box)} for box in found]})

    def conclude(self, results: Iterable[Entry]) -> dict[str, str]:
        entries = list(results)
        return {"boxes.json": coco(entries), "boxes.csv": csv(entries)}

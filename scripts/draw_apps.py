"""Draws docs/apps.png: what the applications make of photographs that the bundled network never saw in training.

They are scikit-image's astronaut and scikit-learn's flower (CC BY 2.0, vultilion on Flickr). `sky` takes weights of its
own, for a tile that is left out without them; clothes, portrait and composite are not on it.

    python scripts/draw_apps.py [--model WEIGHTS] [--sky WEIGHTS] [--out docs/apps.png]
"""

import argparse
from pathlib import Path

import skimage
import sklearn
from PIL import Image, ImageDraw, ImageFont, ImageOps

from u2net_zoo import BUNDLED, Session
from u2net_zoo.apps import APPLICATIONS
from u2net_zoo.sources import profile_of

DATA = Path(skimage.__file__).parent / "data"
WIDTH, HEIGHT, GAP, CAPTION, COLUMNS = 240, 176, 8, 22, 5
ASTRONAUT, ROCKET = DATA / "astronaut.png", DATA / "rocket.jpg"
FLOWER = Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg"
TILES = (
    (ASTRONAUT, "mask", {}, "mask"),
    (ASTRONAUT, "cutout", {"matting": "guided"}, "cutout --matting guided"),
    (ASTRONAUT, "replace", {"background": str(ROCKET)}, "replace --background rocket.jpg"),
    (ASTRONAUT, "highlight", {"dim": 0.3}, "highlight --dim 0.3"),
    (FLOWER, "cutout", {"matting": "closed-form"}, "cutout --matting closed-form"),
    (FLOWER, "replace", {"background": "#20c0a0"}, "replace --background #20c0a0"),
    (FLOWER, "boxes", {"minimum": 0.02}, "boxes --minimum 0.02"),
    (ASTRONAUT, "crop", {"margin": 0.02}, "crop --margin 0.02"),
    (ASTRONAUT, "human", {}, "human"),
    (ROCKET, "sky", {}, "sky"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=BUNDLED)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "apps.png")
    parser.add_argument("--sky", type=Path, help="weights, or an artifact, that find the sky")
    options = parser.parse_args()
    session = Session(options.model)
    sessions = (
        {"sky": Session(options.sky, profile=profile_of(options.sky, APPLICATIONS["sky"].model))} if options.sky else {}
    )
    tiles = [each for each in TILES if each[1] != "sky" or options.sky]
    rows = -(-len(tiles) // COLUMNS)
    size = (COLUMNS * (WIDTH + GAP) - GAP, rows * (HEIGHT + CAPTION + GAP) - GAP)
    sheet, font = Image.new("RGB", size, "white"), ImageFont.load_default(13)
    for number, (photograph, name, fields, caption) in enumerate(tiles):
        left, top = number % COLUMNS * (WIDTH + GAP), number // COLUMNS * (HEIGHT + CAPTION + GAP)
        sheet.paste(tile(sessions.get(name, session), photograph, name, fields), (left, top))
        ImageDraw.Draw(sheet).text((left + 2, top + HEIGHT + 3), caption, fill=(70, 70, 70), font=font)
    sheet.save(options.out, optimize=True)


def tile(session: Session, photograph: Path, name: str, fields: dict) -> Image.Image:
    """One application on one photograph, in the middle of a white tile; transparency on a chequered ground."""
    application = APPLICATIONS[name](**fields)
    seen = application.before(Image.open(photograph).convert("RGB"))
    picture = application.after(seen, session.mask(seen)).pictures[""]
    picture = ImageOps.contain(picture, (WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    if picture.mode == "RGBA":
        ground = chequered(picture.size)
        ground.alpha_composite(picture)
        picture = ground
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    canvas.paste(picture.convert("RGB"), ((WIDTH - picture.width) // 2, (HEIGHT - picture.height) // 2))
    return canvas


def chequered(size: tuple[int, int], side: int = 8) -> Image.Image:
    ground = Image.new("RGBA", size, (236, 236, 236, 255))
    for top in range(0, size[1], side):
        for left in range((top // side % 2) * side, size[0], 2 * side):
            ground.paste((200, 200, 200, 255), (left, top, left + side, top + side))
    return ground


if __name__ == "__main__":
    main()

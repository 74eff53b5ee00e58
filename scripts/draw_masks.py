"""Draws docs/masks.png: scikit-image's astronaut, cat and rocket beside their masks by the bundled weights.

python scripts/draw_masks.py [--model WEIGHTS] [--out docs/masks.png]
"""

import argparse
from pathlib import Path

import skimage
from PIL import Image

from u2net_zoo import BUNDLED, Session

HEIGHT, GAP = 160, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=BUNDLED)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "masks.png")
    options = parser.parse_args()
    session = Session(options.model)
    tiles = []
    for name in ("astronaut.png", "chelsea.png", "rocket.jpg"):
        picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        size = (round(picture.width * HEIGHT / picture.height), HEIGHT)
        tiles += [
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS) for image in (picture, session.mask(picture))
        ]
    strip = Image.new("RGB", (sum(tile.width + GAP for tile in tiles) - GAP, HEIGHT), "white")
    left = 0
    for tile in tiles:
        strip.paste(tile, (left, 0))
        left += tile.width + GAP
    strip.save(options.out, optimize=True)


if __name__ == "__main__":
    main()

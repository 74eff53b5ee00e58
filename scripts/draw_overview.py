"""Draws docs/overview.jpg: a photograph, its mask and its cut-out by the bundled u2net_nano, and a parity report.

The photographs are scikit-learn's china.jpg and flower.jpg (CC BY 2.0, danielbuechele and vultilion on Flickr), which
u2net_nano never saw in training. The report compares two right artifacts and a copy of the first with a planted fault
(bilinear resizing with `align_corners=True`); Chromium draws it, in a narrow window and on a phone in dark mode.

    python scripts/draw_overview.py [--report report.html] [--out docs/overview.jpg]
"""

import argparse
import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from u2net_zoo import BUNDLED, Session
from u2net_zoo.apps import APPLICATIONS

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "parity_tests")]
from support.browser import Browser  # noqa: E402
from support.faults import EDITS, planted  # noqa: E402

PHOTOGRAPHS, SHOWN = ("china.jpg", "flower.jpg"), "china.jpg"
FAULT = "align_corners=True"
SCALE = 2  # pixels of the picture to one of the page
WIDTH, GAP, CAPTION = 920, 14, 24  # pixels of the page
WINDOW, PHONE = (872, 650), (390, 690)  # shown smaller; no time is in sight, which other machines would not have


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--report", type=Path, help="a report that exists, of the same photographs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "overview.jpg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        report = options.report or reported(Path(place))
        window, phone = screenshots(report.resolve(), Path(place))
    rows = [in_a_row(tiles()), in_a_row({"parity report": window, "on a phone, in dark mode": phone})]
    sheet = Image.new("RGB", (SCALE * WIDTH, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(options.out, quality=80, optimize=True, progressive=True)
    print(f"{options.out}  {sheet.width}x{sheet.height}  {options.out.stat().st_size / 1e3:.0f} kB")


def photographs() -> Path:
    import sklearn.datasets

    return Path(sklearn.datasets.__file__).parent / "images"


def tiles() -> dict[str, Image.Image]:
    picture = Image.open(photographs() / SHOWN).convert("RGB")
    mask = Session(BUNDLED).mask(picture)
    cut = APPLICATIONS["cutout"]().after(picture, mask).pictures[""]
    ground = chequered(picture.size)
    ground.alpha_composite(cut)
    return {"photograph": picture, "mask": mask, "cut-out": ground}


def chequered(size: tuple[int, int], side: int = 12) -> Image.Image:
    ground = Image.new("RGBA", size, (255, 255, 255, 255))
    for top in range(0, size[1], side):
        for left in range((top // side % 2) * side, size[0], 2 * side):
            ground.paste((222, 223, 226, 255), (left, top, left + side, top + side))
    return ground


def reported(place: Path) -> Path:
    """The report of two formats and of a planted fault, made by the commands that users have."""
    images, page = place / "photographs", place / "report.html"
    images.mkdir()
    for name in PHOTOGRAPHS:
        (images / name).write_bytes((photographs() / name).read_bytes())
    u2zoo("convert", BUNDLED, "--to", "onnx,ncnn", "--out", place)
    files = [place / f"{BUNDLED}.onnx", place / f"{BUNDLED}_ncnn", place / "planted_fault.onnx"]
    planted(files[0], files[2], EDITS[FAULT])
    u2zoo("verify", *files, "--against", BUNDLED, "--images", images, "--report", page, right=1)  # one differs
    return page


def u2zoo(*arguments: object, right: int = 0) -> None:
    done = subprocess.run([sys.executable, "-m", "u2net_zoo", *map(str, arguments)], check=False)
    if done.returncode != right:
        raise SystemExit(f"u2zoo {arguments[0]} ended with {done.returncode}, not {right}")


def screenshots(page: Path, place: Path) -> tuple[Image.Image, Image.Image]:
    """The report's beginning in a window, and its first photograph on a phone in dark mode."""
    browser = Browser(place / "profile")
    try:
        window = seen(browser, page, WINDOW, "light", "header")
        return window, seen(browser, page, PHONE, "dark", ".photo")
    finally:
        browser.close()


def seen(browser: Browser, page: Path, size: tuple[int, int], scheme: str, first: str) -> Image.Image:
    """What a window of this size shows when the element `first` stands at its top."""
    width, height = size
    browser.screen(width, height, scale=SCALE)
    browser.scheme(scheme)
    browser.open(page)
    browser.evaluate(f"document.querySelector('{first}').scrollIntoView({{behavior: 'instant'}})")
    browser.evaluate("Promise.all([...document.images].map((image) => (image.loading = 'eager', image.decode())))")
    content = browser.send("Page.captureScreenshot", format="png")["data"]
    return Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")


def in_a_row(pictures: dict[str, Image.Image]) -> Image.Image:
    """Side by side at one height, as wide as the sheet together, each with its caption below."""
    gap, wide = SCALE * GAP, SCALE * WIDTH
    height = round((wide - gap * (len(pictures) - 1)) / sum(p.width / p.height for p in pictures.values()))
    row = Image.new("RGB", (wide, height + SCALE * CAPTION), "white")
    draw, font, left = ImageDraw.Draw(row), ImageFont.load_default(SCALE * 13), 0
    for caption, picture in pictures.items():
        size = (round(height * picture.width / picture.height), height)
        row.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), (left, 0))
        draw.rectangle((left, 0, min(left + size[0], wide) - 1, height - 1), outline=(210, 211, 214), width=SCALE)
        draw.text((left, height + 2 * SCALE), caption, fill=(80, 84, 92), font=font)
        left += size[0] + gap
    return row


if __name__ == "__main__":
    main()

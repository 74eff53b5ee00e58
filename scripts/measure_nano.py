"""Open the test set of `train_nano.py`: what u2netp, the bundled network and a newer one make of it.

    python scripts/measure_nano.py --packages out/packages --out out/measured [WEIGHTS ...]

Two parts, neither of them learnt from nor looked at while learning: the twelve photographs that were always kept
aside, against u2netp's masks; and composites of the forty cut-outs of the test on backgrounds of the test, three of
each, against their true alpha. Prints one line of JSON for each network and draws a sheet of each part: photograph,
alpha where it is known, one column for each network, u2netp first.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from nano_compose import Composer, CutOut, Stock
from nano_packages import Packages
from nano_pictures import SHARED, load, normalise, paper_input, shrink, split
from nano_teacher import iou, mask
from PIL import Image

from u2net_zoo.reading import read_checkpoint
from u2net_zoo.torch_model import build
from u2net_zoo.train.metrics import measure, summary

SEED, TIMES, SIZE = 40, 3, 320
TILE = 160
SCORES = ("max_f", "weighted_f", "mae", "boundary_f", "iou")


def composites(packages: Packages) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures (SIZE, SIZE, 3) and alphas (SIZE, SIZE), uint8."""
    backgrounds = [shrink(load(path)) for path in packages.backgrounds()["test"]]
    made = []
    for number, path in enumerate(packages.cut_outs()["test"]):
        stock = Stock([], backgrounds, [], [CutOut.read(path)])
        composer = Composer(stock, SIZE, SEED + number, {"composite": 1.0}, close=0)
        for picture, alpha in (composer() for _ in range(TIMES)):
            if alpha is not None:
                made.append((picture, grey(alpha)))
    return made


def grey(values: np.ndarray) -> np.ndarray:
    return (values * 255).round().astype(np.uint8)


def sheet(rows: list[list[np.ndarray]], path: Path) -> None:
    page = Image.new("RGB", (TILE * len(rows[0]), TILE * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            page.paste(Image.fromarray(picture).convert("RGB").resize((TILE, TILE)), (x * TILE, y * TILE))
    page.save(path)


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, nargs="*", default=[root / "weights" / "u2net_nano.safetensors"])
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/measured"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    files = [SHARED / "weights" / "u2netp.pth", *options.weights]
    models = [build(read_checkpoint(path).fold()) for path in files]

    photographs = [load(path) for path in split()["test"]]
    made = composites(Packages(options.packages))
    masks, on_made = [], []
    for path, model in zip(files, models, strict=True):
        masks.append([mask(model, paper_input(picture)) for picture in photographs])
        on_made.append([mask(model, normalise(torch.from_numpy(picture)[None])[0]) for picture, _ in made])
        scores = summary([measure(grey(m), alpha) for m, (_, alpha) in zip(on_made[-1], made, strict=True)])
        agreement = [iou(m, truth) for m, truth in zip(masks[-1], masks[0], strict=True)]
        apart = np.mean([abs(m - truth).mean() for m, truth in zip(masks[-1], masks[0], strict=True)])
        twelve = {"iou": np.mean(agreement), "worst": min(agreement), "mae": apart}
        line = {"weights": path.name, "composites": {name: scores[name] for name in SCORES}, "twelve": twelve}
        print(json.dumps(line, default=float), flush=True)
    columns = [[grey(m) for m in each] for each in masks]
    sheet([list(row) for row in zip(photographs, *columns, strict=True)], options.out / "twelve.png")
    columns = [[grey(m) for m in each] for each in on_made]
    rows = [[picture, alpha, *row] for (picture, alpha), *row in zip(made, *columns, strict=True)]
    sheet(rows[::TIMES], options.out / "composites.png")


if __name__ == "__main__":
    main()

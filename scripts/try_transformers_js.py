"""Loads what `u2zoo publish --dry-run --stage FOLDER` wrote in transformers.js, and compares its masks with ours.

Needs Node, and the package: `npm install @huggingface/transformers` in a folder, whose `node_modules` is named.
Prints, for each number format and photograph, IoU and MAE between the alpha of its cut-out and the mask of `Session`.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from converters.publish.browser_config import FILES
from converters.sample_images import BUNDLED, bundled
from u2net_zoo import Session

PROGRAM = """
import { pipeline, env } from '@huggingface/transformers';
const [folder, dtype, ...pictures] = process.argv.slice(2);
env.localModelPath = folder; env.allowRemoteModels = false; env.useFSCache = false;
const segmenter = await pipeline('background-removal', 'staged', dtype === 'default' ? {} : { dtype });
for (const picture of pictures) await (await segmenter(picture)).save(picture.replace('.png', '.cut.png'));
"""


def cut_outs(staged: Path, node_modules: Path, dtype: str, room: Path) -> dict[str, np.ndarray]:
    """name -> alpha of transformers.js."""
    shutil.copytree(staged, room / "models" / "staged")
    (room / "node_modules").symlink_to(node_modules.resolve())
    (room / "try.mjs").write_text(PROGRAM, encoding="utf-8", newline="\n")
    for name in BUNDLED:
        bundled(name).convert("RGB").save(room / f"{name}.png")
    pictures = [f"{name}.png" for name in BUNDLED]
    subprocess.run(["node", "try.mjs", f"{room / 'models'}/", dtype, *pictures], cwd=room, check=True)
    return {name: np.asarray(Image.open(room / f"{name}.cut.png"))[..., 3].astype(float) for name in BUNDLED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("staged", type=Path)
    parser.add_argument("--node-modules", type=Path, required=True)
    given = parser.parse_args()
    session = Session(
        given.staged / "onnx" / next(f for f, _ in FILES.values() if (given.staged / "onnx" / f).exists())
    )
    there = [dtype for file, dtype in FILES.values() if (given.staged / "onnx" / file).exists()]
    for dtype in ("default", *there):
        with tempfile.TemporaryDirectory() as room:
            found = cut_outs(given.staged, given.node_modules, dtype, Path(room))
        for name, alpha in found.items():
            mask = np.asarray(session.mask(bundled(name).convert("RGB"))).astype(float)
            a, b = alpha > 127, mask > 127
            iou = (a & b).sum() / max((a | b).sum(), 1)
            print(f"{dtype:<8} {name:<10} IoU {iou:.4f}  MAE {np.abs(alpha - mask).mean():.2f}/255")


if __name__ == "__main__":
    main()

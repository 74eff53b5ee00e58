"""Which photographs of ours `train_nano.py` learns from and which it keeps aside, and how they are read."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import skimage
import torch
from PIL import Image
from torch import Tensor

__all__ = ["SHARED", "load", "normalise", "paper_input", "shrink", "split"]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHIPPED = Path(skimage.__file__).parent / "data"
LEARNT = ("coffee", "color", "hubble_deep_field", "ihc", "motorcycle_left", "motorcycle_right", "retina", "camera")
LEARNT += ("coins", "moon", "brick", "grass", "gravel", "rocket", "chelsea")
SHOWN = ("astronaut",)
SIDE = 640  # photographs are shrunk to this before anything is drawn from them
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def split() -> dict[str, list[Path]]:
    """`learn`; `development`, to choose by; `test`, the twelve kept aside ever since; `shown`, in our own pictures.

    By name: every third photograph of `sod` and of `human`, from the second, is the test's, every sixth of the others,
    from the fourth, the development set's. scikit-image's astronaut is shown.
    """
    sod, human = (sorted((SHARED / part / "images").iterdir()) for part in ("sod", "human"))
    test = sod[1::3] + human[1::3]
    others = [path for path in sod + human if path not in test]
    more = ("portrait/images", "portrait/your_images", "sky/images")
    rest = [path for part in more for path in sorted((SHARED / part).iterdir())]
    shipped = {path.stem: path for path in sorted(SHIPPED.iterdir()) if path.suffix in (".png", ".jpg")}
    learn = [path for path in others if path not in others[3::6]] + rest + [shipped[name] for name in LEARNT]
    return {"learn": learn, "development": others[3::6], "test": test, "shown": [shipped[name] for name in SHOWN]}


def load(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def shrink(image: np.ndarray) -> np.ndarray:
    scale = SIDE / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def paper_input(image: np.ndarray, size: int = 320) -> Tensor:
    """The authors' preprocessing: (3, size, size)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resized = skimage.transform.resize(image, (size, size), mode="constant", anti_aliasing=False)
    return normalise(torch.from_numpy(resized.astype(np.float32))[None])[0]


def normalise(pictures: Tensor) -> Tensor:
    """(N, H, W, 3) of any range to (N, 3, H, W): divided by each picture's maximum, then ImageNet mean and std."""
    scaled = pictures.float() / pictures.amax((1, 2, 3), keepdim=True).float().clamp(min=1e-6)
    return ((scaled - MEAN) / STD).permute(0, 3, 1, 2).contiguous()

"""Closed-form matting of a cat, by the project and by rembg's lines.

Run as a program it saves what `alphas` and `uncertain` give: `closed_form.py WIDTH ERODE FILE.npz`. PyMatting needs no
compilation with `NUMBA_DISABLE_JIT=1`, and computes the same; where it has not run before, that takes a minute.
"""

import sys

import numpy as np
from PIL import Image
from support.photographs import photograph

from u2net_zoo import Session
from u2net_zoo.apps import cutout
from u2net_zoo.apps.cutout import Cutout
from u2net_zoo.apps.matting import Trimap


def alphas(width: int, erode: int) -> dict[str, np.ndarray]:
    """`found` and `expected`, (h, w) uint8, of the cat at that width; `mask` is what both refine."""
    import cv2
    import pymatting

    cat = photograph("chelsea.png", width)
    mask = Session("u2net_nano").mask(cat)
    levels, square = np.asarray(mask), np.ones((erode, erode), np.uint8)
    sure = cv2.erode((levels > 240).astype("u1"), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    none = cv2.erode((levels < 10).astype("u1"), square, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    known = np.where(sure, 1.0, np.where(none, 0.0, 0.5))
    expected = pymatting.estimate_alpha_cf(np.asarray(cat) / 255.0, known)
    found = cutout(cat, mask, matting="closed-form", trimap=Trimap(erode=erode)).getchannel("A")
    return {"found": np.asarray(found), "expected": np.clip(expected * 255, 0, 255).astype("u1"), "mask": levels}


def uncertain(width: int) -> dict[str, np.ndarray]:
    """`kept`: the alpha made of a mask of 128 throughout, and `warning`, what is said of it."""
    cat = photograph("chelsea.png", width)
    result = Cutout(matting="closed-form").after(cat, Image.new("L", cat.size, 128))
    alpha = result.pictures[""].getchannel("A")
    return {"kept": np.asarray(alpha), "warning": np.array(result.facts["warning"])}


if __name__ == "__main__":
    width, erode, file = sys.argv[1:]
    np.savez(file, **alphas(int(width), int(erode)), **uncertain(int(width)))

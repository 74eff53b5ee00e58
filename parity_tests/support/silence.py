"""Is a file answered wrongly in silence? Its mask and its weights beside the network that went in."""

import random
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from support.random_files import Maker, networks, renamed
from support.self_normalising import RECIPES

from converters.loading import format_of, read_source
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import agreement
from u2net_zoo import Session
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import AssumptionWarning, U2ZooError
from u2net_zoo.preprocessing import PROFILES, Profile
from u2net_zoo.session import MaskSession

__all__ = ["OUTCOMES", "case"]

OUTCOMES = ("agrees", "refused", "explained", "wrong")
GREY = 0.02  # mean difference of two masks in [0, 1]: what float16 may cost
Judged = tuple[str, str]  # outcome, reason


def preparation(maker: str) -> Profile:
    """How the file itself prepares a photograph: as the paper does or, of pixels, as its maker wrote it."""
    if maker not in {f"{name}, {what}" for name, what in RECIPES}:
        return PROFILES["paper"]
    paper = replace(PROFILES["paper"], by_maximum=False)
    return replace(paper, std=(0.226,) * 3) if maker.startswith("coreml, a picture") else paper


def of_mask(network: Checkpoint, maker: str, path: Path) -> Judged:
    worst = 0.0
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", AssumptionWarning)
            session = Session(str(path))
        for name in ("astronaut", "coffee"):
            photograph = Image.fromarray(getattr(data, name)())
            right = MaskSession(TorchPredictor(network), preparation(maker), size=session.size).mask(photograph)
            given = np.asarray(session.mask(photograph), np.float64)
            worst = max(worst, float(np.abs(given - np.asarray(right, np.float64)).mean()) / 255)
    except U2ZooError as error:
        return ("refused" if "\n" not in str(error) else "wrong"), str(error)
    if worst <= GREY:
        return "agrees", ""
    assumed = [str(each.message) for each in said if issubclass(each.category, AssumptionWarning)]
    return ("explained" if assumed else "wrong"), f"masks differ by {worst:.3f}; {'; '.join(assumed)}"


def of_weights(network: Checkpoint, path: Path) -> Judged:
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    try:
        found = read_source(path)
    except U2ZooError as error:
        return ("refused" if "\n" not in str(error) else "wrong"), str(error)
    apart = float(np.abs(TorchPredictor(found)(x)["mask"] - TorchPredictor(network)(x)["mask"]).mean())
    said = agreement(format_of(path), path, found)
    if apart <= GREY:
        return ("agrees", "") if said.ok or said.skipped else ("wrong", f"a right file is accused: {said.summary()}")
    why = "; ".join([f"{apart:.3f} apart", said.summary(), *found.assumed])
    told = found.assumed or said.explanation or not (said.ok or said.skipped)
    return ("explained" if told else "wrong"), why


def case(seed: str, chosen: str, maker: Maker, folder: Path) -> dict[str, Judged]:
    """What a mask of one file and its weights turned out to be.

    Args:
        seed: what is drawn follows from it.
        chosen: the maker's name.
    """
    chance = random.Random(seed)  # noqa: S311
    network = networks(chance)
    try:
        path = renamed(maker(network, folder, chance), chance)
    except U2ZooError as error:  # an option that this format or network cannot honour
        return {"mask": ("refused", str(error)), "weights": ("refused", str(error))}
    return {"mask": of_mask(network, chosen, path), "weights": of_weights(network, path)}

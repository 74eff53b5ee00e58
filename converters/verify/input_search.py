"""The input convention of a file, worked out by running it beside its own weights under each."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from u2net_zoo.conventions import INPUTS, NORMALISED, InputConvention
from u2net_zoo.errors import ArtifactError, CheckpointError, MissingExtraError
from u2net_zoo.preprocessing import PROFILES, Profile

from .. import sample_images
from ..format import Format
from ..loading import read_source
from ..options import DEFAULT_SIZE
from ..parity.outputs import difference
from ..parity.reference import in_batches
from ..predictor import Outputs, Predictor
from ..torch_predictor import TorchPredictor
from .input_conventions import CLEARLY

__all__ = ["found_input"]

PHOTOGRAPHS = ("chelsea", "astronaut", "rocket", "coffee")  # coloured ones of `sample_images` …
ENOUGH = 2  # … of which so many are taken: the first on which the network answers more than a constant
NOTHING, ONE = (0.0,) * 3, (1.0,) * 3  # a normalisation that is none: what agrees under it is not told apart by it
VARIES = 0.05  # of a mask; less is a constant, and says nothing of the input
SAME = 0.004  # mean absolute difference of masks, on the scale of `_telling`: two programs on the same input …
EXACTLY = 1e-4  # … in float32: no other convention needs to be tried
ONE_FOR_ALL = (0.226, 0.225, 0.229)  # deviations that recipes for Core ML's image inputs have for all channels
USUAL = 0.2  # mean absolute deviation of the mask of a photograph with an object; u2net_nano: 0.2 to 0.4
LIKE = 0.12  # what a wrong resizing or 8-bit weights may cost of a convention that leads `CLEARLY`


def found_input(fmt: Format, path: Path, predictor: Predictor, profile: Profile) -> str:
    """The convention under which the file answers what its own weights answer in Torch."""
    if find_spec("torch") is None:
        raise MissingExtraError(
            f"finding out what {path.name} takes (or name it: --input normalised)", "torch", fmt.extra
        )
    try:
        checkpoint = read_source(path)
    except CheckpointError as error:
        raise _undecided(path, f"its weights cannot be read: {error}") from None
    if checkpoint.arch.in_ch != 3:
        return "normalised"
    size = predictor.size or predictor.default or DEFAULT_SIZE
    model = TorchPredictor(checkpoint, fold=True)
    pictures, scales = _telling(model, profile, size)
    if not pictures:
        raise _undecided(path, "its weights answer next to the same everywhere")

    return _nearest(path, predictor, profile, _Right(model, pictures, scales))


@dataclass(frozen=True)
class _Right:
    """What the file's weights answer in Torch to photographs, pixels (H, W, 3), under any profile; see `_telling`."""

    model: Predictor
    pictures: list[np.ndarray]
    scales: list[float]
    known: dict[Profile, list[Outputs]] = field(default_factory=dict)

    def apart(self, answers: list[Outputs], profile: Profile) -> float:
        if profile not in self.known:
            self.known[profile] = [self.model(profile.normalised(pixels)) for pixels in self.pictures]
        differences = (difference(a, b)[2] for a, b in zip(answers, self.known[profile], strict=True))
        return max(mean / scale for mean, scale in zip(differences, self.scales, strict=True))


def _nearest(path: Path, predictor: Predictor, profile: Profile, right: _Right) -> str:
    same: dict[str, float] = {}  # under any profile that may be in the file …
    left: dict[str, float] = {}  # … and under the session's own
    for name, takes in INPUTS.items():
        fed = [takes.of(x) if takes.scale is not None else profile.normalised(x) for x in right.pictures]
        answers = [in_batches(predictor, x) for x in fed]
        left[name] = np.inf
        for each in _profiles(profile, takes):
            apart = right.apart(answers, each)
            if apart <= EXACTLY:
                return name
            same[name] = min(same.get(name, np.inf), apart)
            if (each.mean, each.std) == (profile.mean, profile.std):  # under another's something near may be chance
                left[name] = min(left[name], apart)
    nearest = min(same, key=lambda name: same[name])
    if same[nearest] <= SAME:
        return nearest
    best, second, *_ = sorted(left, key=lambda name: left[name])
    # Of a file that takes the normalised tensor, pixels of 0..1 are near too; never the other way round.
    if left[best] <= (LIKE if INPUTS[best] is NORMALISED else min(LIKE, CLEARLY * left[second])):
        return best
    raise _undecided(
        path, f"no input convention gives the mask that its weights give; {INPUTS[best].name} comes nearest"
    )


def _telling(model: Predictor, profile: Profile, size: tuple[int, int]) -> tuple[list[np.ndarray], list[float]]:
    """Photographs as pixels (H, W, 3) of which the network's answers vary, and the scale of their differences.

    It is how far the answers reach, 1 for a mask; less where next to all of them is one value, so that any feeding
    gives next to the same.
    """
    pictures, scales = [], []
    for name in PHOTOGRAPHS:
        pixels = profile.pixels(sample_images.bundled(name), size)
        mask = model(profile.normalised(pixels))["mask"]
        deviation = float(np.abs(mask - np.median(mask)).mean()) / max(1.0, float(np.ptp(mask)))
        if np.ptp(mask) >= VARIES and deviation > EXACTLY:
            pictures.append(pixels)
            scales.append(max(1.0, float(np.ptp(mask))) * min(1.0, deviation / USUAL))
        if len(pictures) == ENOUGH:
            break
    return pictures, scales


def _profiles(profile: Profile, takes: InputConvention) -> Iterator[Profile]:
    """Whose normalisation may be in the file: of all profiles, each mean and deviation once, the session's first."""
    yield profile
    if takes.scale is None:
        return
    seen = {
        (profile.mean, profile.std, profile.by_maximum),
        *((NOTHING, ONE, by_maximum) for by_maximum in (True, False)),
    }
    for other in (
        *PROFILES.values(),
        replace(profile, std=ONE),  # folded into the first kernel, as OpenVINO does
        *(replace(profile, std=(std,) * 3) for std in ONE_FOR_ALL),
    ):
        for by_maximum in (other.by_maximum, False):
            key = (other.mean, other.std, by_maximum)
            if key not in seen:
                seen.add(key)
                yield Profile(other.name, other.size, other.resize, other.mean, other.std, by_maximum)


def _undecided(path: Path, why: str) -> ArtifactError:
    names = ", ".join(INPUTS)
    return ArtifactError(f"{path}: its input convention is unknown: {why}; name it with --input ({names})")

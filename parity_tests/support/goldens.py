"""Goldens: what each network answers in float64, as figures that fit into the repository.

`goldens/u2netp.npz` and `goldens/u2net.npz` are samples of the authors' own code, run in float64 on `hard_weights`;
side outputs at 320x320 alone, which that run did not keep, are this project's. `goldens/isnet.npz` and
`goldens/u2net_nano.npz` are this project's own float64 run: the first on hard weights, the second with the bundled
weights on photographs. `scripts/make_goldens.py` writes them all. Each file holds

    seed, gain                     of the hard weights, where they are used
    input{i}_seed, input{i}_shape  standard_normal of NumPy's generator, NCHW float32; or
    input{i}_photograph            a photograph of scikit-image, and in input{i} samples of the prepared tensor
    d{i}_{name}                    the output's values at `positions`
    whole{i}_{name}                its minimum, maximum and mean
    by{i}_{name}                   "authors" or "project"
    noise{i}                       how far float32 strayed from float64 where that was run, a maximum for each output
"""

import functools
from dataclasses import dataclass

import numpy as np
from support.data import NANO, TESTS
from support.networks import ARCHS, hard_checkpoint
from support.photographs import photograph

from converters.parity import farthest
from converters.torch_predictor import TorchPredictor
from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.reading import read_checkpoint

SAMPLES = 512
FLOAT32 = 3.1e-8  # the authors' figures were kept as float32: half an ulp below 1


def positions(size: int) -> np.ndarray:
    """Where an array of `size` values is sampled: always the same places."""
    return np.sort(np.random.default_rng(size).choice(size, min(SAMPLES, size), replace=False))


def sampled(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)[positions(array.size)]


def whole(array: np.ndarray) -> np.ndarray:
    """Minimum, maximum and mean; each moves at most as far as the farthest value does."""
    return np.array([array.min(), array.max(), array.mean(dtype=np.float64)])


@dataclass(frozen=True)
class Expected:
    """One output of one input: its samples, its minimum, maximum and mean, and whose figures they are."""

    values: np.ndarray
    whole: np.ndarray
    by: str

    def error(self, result: np.ndarray) -> float:
        """The farthest of all that is known of the output: a lower bound of the largest absolute difference.

        NaN where the result has one anywhere.
        """
        here = np.abs(sampled(result).astype(np.float64) - self.values).max()
        return float(np.max([here, np.abs(whole(result) - self.whole).max()]))


class Golden:
    """A network's figures, with the weights and inputs that they belong to."""

    def __init__(self, name: str):
        self.name = name
        self.file = np.load(TESTS / "goldens" / f"{name}.npz")

    @property
    def arch(self) -> Architecture:
        return ARCHS.get(self.name) or self.checkpoint.arch

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """Made when asked for: a full-size network's weights take seconds."""
        if self.name == "u2net_nano":
            return read_checkpoint(NANO)
        return hard_checkpoint(ARCHS[self.name], int(self.file["seed"]), float(self.file["gain"]))

    @functools.cache  # noqa: B019 - lives as long as the tests
    def input(self, i: int) -> np.ndarray:
        """(N, 3, H, W) float32."""
        if f"input{i}_photograph" in self.file:
            return PROFILES["paper"].tensor(photograph(str(self.file[f"input{i}_photograph"])), (320, 320))
        rng = np.random.default_rng(int(self.file[f"input{i}_seed"]))
        return rng.standard_normal(tuple(self.file[f"input{i}_shape"])).astype(np.float32)

    def outputs(self, i: int) -> dict[str, Expected]:
        keys = {name: (f"d{i}_{name}", f"whole{i}_{name}", f"by{i}_{name}") for name in self.arch.outputs}
        return {
            name: Expected(self.file[value], self.file[stats], str(self.file[by]))
            for name, (value, stats, by) in keys.items()
        }

    @functools.cache  # noqa: B019
    def exact(self, i: int) -> dict[str, np.ndarray]:
        """The project's own float64, whole; a test of its own holds it to the figures."""
        return TorchPredictor(self.checkpoint, "float64")(self.input(i))

    @functools.cache  # noqa: B019
    def noise(self, i: int) -> dict[str, float]:
        """How far Torch's float32 strays from each output: as recorded, or on this processor where that is more.

        It depends on the kernels, and so on the processor and on the memory layout; see `Reference.noise`.
        """
        recorded = dict(zip(self.arch.outputs, self.file[f"noise{i}"].tolist(), strict=True))
        here = noise_floor(self.checkpoint, self.input(i), self.exact(i))
        return {name: max(recorded[name], here[name]) for name in recorded}

    def allowed(self, i: int) -> dict[str, float]:
        return {name: 3 * noise + 1e-6 for name, noise in self.noise(i).items()}

    def errors(self, i: int, results: dict[str, np.ndarray]) -> dict[str, float]:
        """Of each result: its distance to the figures where there are some, and to `exact` everywhere."""
        expected, exact = self.outputs(i), self.exact(i)
        assert {name: value.shape for name, value in results.items()} == {name: exact[name].shape for name in results}
        return {
            name: float(np.max([expected[name].error(value), np.abs(value - exact[name]).max()]))
            for name, value in results.items()
        }

    def beyond(self, i: int, results: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
        """The results that are farther off than float32 explains: name -> (error, allowed)."""
        errors, allowed = self.errors(i, results), self.allowed(i)
        return {name: (error, allowed[name]) for name, error in errors.items() if not error <= allowed[name]}


@functools.cache
def recorded(name: str) -> Golden:
    """The one `Golden` of this name: what it computed is not computed again in this process."""
    return Golden(name)


def noise_floor(checkpoint: Checkpoint, x: np.ndarray, exact: dict[str, np.ndarray]) -> dict[str, float]:
    """The larger of Torch's two memory layouts' largest differences to `exact`, for each output."""
    layouts = (TorchPredictor(checkpoint), TorchPredictor(checkpoint, channels_last=True))
    return dict(farthest([layout(x) for layout in layouts], exact))

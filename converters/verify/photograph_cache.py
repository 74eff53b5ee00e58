"""The photographs that artifacts are compared on; what is made of each lies in a file, so memory does not grow."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from u2net_zoo.errors import OutputError
from u2net_zoo.session import MaskSession, Preparation
from u2net_zoo.system import scratch_folder

__all__ = ["LazyPhotographs", "PhotographCache"]

Opened = Callable[[int, Image.Image], None]


class LazyPhotographs(Mapping[str, Image.Image]):
    """Photographs by name, each opened when it is asked for and not kept.

    Args:
        openers: name -> what reads the photograph.
        opened: called with each photograph's number and picture when it is read for the first time.
    """

    def __init__(self, openers: Mapping[str, Callable[[], Image.Image]], opened: Opened | None = None):
        self.openers, self.opened = dict(openers), opened
        self.new = {name: number for number, name in enumerate(self.openers)}

    def __getitem__(self, name: str) -> Image.Image:
        photograph = self.openers[name]()
        number = self.new.pop(name, None)
        if self.opened and number is not None:
            self.opened(number, photograph)
        return photograph

    def __iter__(self) -> Iterator[str]:
        return iter(self.openers)

    def __len__(self) -> int:
        return len(self.openers)


class PhotographCache:
    """Photographs, what networks are fed of them and what one network answers; each is made once.

    The arrays lie in a temporary folder, which goes with the cache: 1.6 MB for each photograph, profile and size 320.

    Args:
        photographs: name -> picture; asked for one at a time and not kept.
    """

    def __init__(self, photographs: Mapping[str, Image.Image]):
        self.photographs = photographs
        self.names = tuple(photographs)
        self.sizes: dict[str, tuple[int, int]] = {}  # (W, H)
        self.folder = scratch_folder()

    def mask(self, name: str, session: MaskSession) -> Image.Image:
        """The photograph's mask by the session's model, which runs."""
        return self._finished(name, session, session.answer(self._input(name, session.preparation)))

    def expected(self, name: str, session: MaskSession) -> Image.Image:
        """The same by the network that the others are compared with; it runs once for each size and profile."""
        return self._finished(name, session, self.answer(name, session))

    def answer(self, name: str, session: MaskSession) -> np.ndarray:
        """What `expected` makes a mask of."""
        preparation = session.preparation
        return self._kept(
            name,
            f"answer-{session.predictor.outputs[0]}",
            preparation,
            lambda: session.answer(self._input(name, preparation)),
        )

    def _finished(self, name: str, session: MaskSession, answer: np.ndarray) -> Image.Image:
        return session.preparation.mask(answer, self.sizes[name])

    def _input(self, name: str, preparation: Preparation) -> np.ndarray:
        kind = "pixels" if preparation.pixels else "tensor"
        return self._kept(name, kind, preparation, lambda: self._prepared(name, preparation))

    def _prepared(self, name: str, preparation: Preparation) -> np.ndarray:
        photograph = self.photographs[name]
        self.sizes[name] = photograph.size
        return preparation.input(photograph)

    def _kept(self, name: str, kind: str, preparation: Preparation, make: Callable[[], np.ndarray]) -> np.ndarray:
        (height, width), profile = preparation.size, preparation.profile.name
        path = Path(self.folder.name) / f"{self.names.index(name)}-{kind}-{profile}-{height}x{width}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)
        made = make()
        try:
            np.save(path, made, allow_pickle=False)
        except OSError as error:
            path.unlink(missing_ok=True)
            hint = "name a folder with more room in TMPDIR"
            raise OutputError(
                f"{self.folder.name}: cannot keep prepared photographs: {error.strerror}; {hint}"
            ) from None
        return made

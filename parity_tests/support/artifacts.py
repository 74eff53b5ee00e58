"""Artifacts that many tests look at, each made once in a run: whichever worker needs one first makes it for all."""

import hashlib
import pickle
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock
from support.data import NANO

from converters import FORMATS, Artifact, Options, convert
from converters.loading import read_source
from converters.planning.targets import formats_named
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError

ALL = [fmt.name for fmt in formats_named("all")]  # web needs a network, and has its own tests
WEIGHTS_ALONE = [name for name in ALL if not FORMATS[name].has_graph]
CAN_PICTURE = [name for name in ALL if "image" in FORMATS[name].choices.get("io", ())]  # pixels in, grey levels out
PICTURES = [name for name in CAN_PICTURE if FORMATS[name].choices["io"][0] == "image"]  # when nothing else is said
EXPORTERS = {"tensorflow", "keras", "coremltools", "coreai_torch", "openvino"}  # they take seconds for each conversion
SLOW = [name for name in ALL if EXPORTERS & set(FORMATS[name].packages)]
BLIND = [name for name in ALL if not FORMATS[name].inner_values]  # their runtimes show outputs only


class Store:
    """A folder for all workers of a run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known: dict[str, Any] = {}

    def once(self, key: str, make: Callable[[Path], Any]) -> Any:
        """What `make` returned for this key; it is given an empty folder, which stays. Made by one worker alone."""
        if key not in self.known:
            place = self.folder / hashlib.sha256(key.encode()).hexdigest()[:16]
            place.parent.mkdir(exist_ok=True)
            with FileLock(f"{place}.lock"):
                result = Path(f"{place}.result")
                if not result.exists():
                    shutil.rmtree(place, ignore_errors=True)  # of a worker that died on the way
                    place.mkdir()
                    written = pickle.dumps(make(place))
                    result.with_suffix(".partial").write_bytes(written)
                    result.with_suffix(".partial").rename(result)
            self.known[key] = pickle.loads(result.read_bytes())  # noqa: S301 - of this run itself
        return self.known[key]


class Made:
    """`made(options)`: format -> artifact of a network, for every format that can honour the options.

    `made.one(name, options)` makes that format alone.
    """

    def __init__(self, store: Store, network: str, checkpoint: Checkpoint | Path, formats: Iterable[str] = ALL):
        self.store, self.network, self.checkpoint, self.formats = store, network, checkpoint, tuple(formats)

    def __call__(self, options: Options = Options()) -> dict[str, Artifact]:  # noqa: B008 - frozen
        able = [name for name in self.formats if honoured(name, options)]
        return {name: self.one(name, options) for name in able}

    def one(self, name: str, options: Options = Options()) -> Artifact:  # noqa: B008 - frozen
        def make(folder: Path) -> Artifact:
            return convert(self.checkpoint, name, folder, name=self.network, options=options)[0]

        # Whoever asks for a default by its name gets the same artifact as who does not ask.
        return self.store.once(f"{self.network} {name} {FORMATS[name].settle(options)}", make)


def honoured(name: str, options: Options) -> bool:
    try:
        FORMATS[name].settle(options)
    except OptionError:
        return False
    return True


def nano() -> Checkpoint:
    """The bundled network: real weights, which every clone has."""
    return read_source(NANO)

"""The input convention of a file of another maker: as it says itself, or as it was found out once and kept.

Nothing in most files says whether they take the normalised tensor or pixels that they normalise themselves; fed the
wrong one, they answer a mask that has nothing to do with the photograph.
"""

import json
from pathlib import Path

from u2net_zoo.catalog import home
from u2net_zoo.conventions import INPUTS, NORMALISED, InputConvention
from u2net_zoo.errors import OptionError, U2ZooError, UnknownNameError
from u2net_zoo.files import staged
from u2net_zoo.preprocessing import Profile

from ..format import Format
from ..loading import sha256_of_all
from ..predictor import Predictor
from ..torch_predictor import TorchPredictor

__all__ = ["input_of", "keep"]


def input_of(fmt: Format, path: Path, predictor: Predictor, profile: Profile, asked: str | None) -> InputConvention:
    """The input convention of `path`, which `predictor` runs.

    Args:
        profile: how photographs are prepared where it wants the normalised tensor.
        asked: a name in `INPUTS` decides; None: what is known of the file, or else is found out now.

    Raises:
        UnknownNameError, OptionError: `asked` is no convention, or not this file's to choose.
        ArtifactError: its convention is unknown.
    """
    if asked is not None and asked not in INPUTS:
        raise UnknownNameError("input", asked, INPUTS)
    if isinstance(predictor, TorchPredictor):  # of weights alone
        return NORMALISED
    if predictor.embedded:
        if asked is not None:
            raise OptionError(f"--input {asked}: {path} has a profile in its graph and says itself what it takes")
        return NORMALISED
    if asked is not None:
        return INPUTS[asked]
    if predictor.stated in INPUTS:
        return INPUTS[str(predictor.stated)]
    record = _record(fmt, path)
    known = _known(record)
    if known is None:
        from .input_search import found_input  # loads what a file that is known does not need

        known = found_input(fmt, path, predictor, profile)
        _write(record, known)
    return INPUTS[known]


def keep(fmt: Format, path: Path, name: str) -> None:
    """Remembers what a file takes of which it is known: it was written here, and proved."""
    _write(_record(fmt, path), name)


def _record(fmt: Format, path: Path) -> Path:
    return home() / "inputs" / f"{sha256_of_all(fmt.files(path))}.json"


def _known(record: Path) -> str | None:
    try:
        name = json.loads(record.read_bytes())["takes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if name in INPUTS else None


def _write(record: Path, name: str) -> None:
    """A cache that cannot be written costs time, never a result."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with staged(record) as path:
            path.write_bytes(json.dumps({"takes": name}).encode())
    except (OSError, U2ZooError):
        return

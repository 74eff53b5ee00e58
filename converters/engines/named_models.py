"""Files that the catalog names and that are models: whether their weights may run in another engine than they do."""

from importlib.util import find_spec
from pathlib import Path

from u2net_zoo import __version__
from u2net_zoo.conventions import NORMALISED
from u2net_zoo.errors import U2ZooError

from ..loading import format_of, read_source
from . import kept

__all__ = ["computes_its_weights"]

FILES = "files"


def computes_its_weights(path: Path, digest: str, size: tuple[int, int]) -> bool:
    """Whether the file answers what the weights in it mean, at float32, for the normalised tensor of `size`.

    It is run beside its weights once, which needs Torch; where that is not there, or where it could not be remembered,
    the file runs as it is. So does one that takes another size: its masks would be others.

    Args:
        digest: of its files.
        size: (H, W) that the engine would be made for.
    """
    record = kept.read(FILES, digest) or {}
    if record.get("version") != __version__:
        if not find_spec("torch") or not kept.writable():
            return False
        try:
            record = {"version": __version__, **_looked_at(path)}
        except U2ZooError:  # the file itself will say so
            return False
        kept.write(FILES, digest, record)
    return record.get("computes_its_weights") is True and record.get("size") in (None, list(size))


def _looked_at(path: Path) -> dict[str, object]:
    from ..verify.self_check import agreement  # loads what a file that is known does not need

    fmt = format_of(path)
    fmt.require_running()
    predictor = fmt.run(path)
    found = agreement(fmt, path, read_source(path), predictor)
    right = found.ok and found.convention == NORMALISED.name and found.precision == "fp32" and not found.pixels
    own = predictor.size or predictor.default
    return {"computes_its_weights": right, "size": list(own) if own else None}

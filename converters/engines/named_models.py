"""Files that the catalog names and that are models: whether their weights may run in another engine than they do."""

from importlib.util import find_spec
from pathlib import Path

from u2net_zoo.conventions import NORMALISED
from u2net_zoo.errors import U2ZooError

from ..loading import format_of, read_source, sha256_of_all
from . import kept

__all__ = ["computes_its_weights"]

FILES = "files"


def computes_its_weights(path: Path) -> bool:
    """Whether the file answers what the weights in it mean, at float32, when it is fed the normalised tensor.

    It is run beside its weights once, which needs Torch; where that is not there, or where it could not be remembered,
    the file runs as it is.
    """
    fmt = format_of(path)
    digest = sha256_of_all(fmt.files(path))
    record = kept.read(FILES, digest)
    if record is None:
        if not find_spec("torch") or not kept.writable():
            return False
        from ..verify.self_check import agreement  # loads what a file that is known does not need

        try:
            found = agreement(fmt, path, read_source(path))
            right = found.ok and found.convention == NORMALISED.name and found.precision == "fp32" and not found.pixels
        except U2ZooError:
            right = False
        record = {"computes_its_weights": right}
        kept.write(FILES, digest, record)
    return record.get("computes_its_weights") is True

"""Each file against the weights that it was made of, before anybody gets it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from u2net_zoo.conventions import NORMALISED
from u2net_zoo.errors import ArtifactError, ParityError

from ..format import Format
from ..isolated import open_isolated
from ..loading import format_of, sha256_of_all
from ..verify.result import VerificationResult
from ..verify.verifier import Verifier
from .provenance import Origin

__all__ = ["ProvedFile", "prove_all"]


@dataclass(frozen=True)
class ProvedFile:
    """An artifact that computes what its weights compute.

    Attributes:
        sha256: of its files, as `info` tells it; taken before they were run.
        beside: text files that belong to it.
    """

    path: Path
    fmt: Format
    result: VerificationResult
    sha256: str
    beside: tuple[Path, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it takes the normalised tensor, channels first and in float32."""
        return self.result.takes == NORMALISED.name

    def check(self) -> None:
        """Raises ArtifactError: the file is another than the one that was proved."""
        if sha256_of_all(self.fmt.files(self.path)) != self.sha256:
            raise ArtifactError(f"{self.path}: was changed while it was proved; publish it again")

    def to_json(self) -> dict[str, Any]:
        """Plain values: the proof, without where the file lay."""
        kept = ("format", "bytes", "size", "takes", "precision", "model", "pictures")
        whole = self.result.to_json()
        return {"sha256": self.sha256, **{key: whole[key] for key in kept}}


def prove_all(
    artifacts: Mapping[Path, tuple[Path, ...]],
    origin: Origin,
    photographs: Mapping[str, Image.Image],
    started: Callable[[str], None] = lambda name: None,
) -> list[ProvedFile]:
    """Every artifact, run in its own runtime in a process of its own.

    Raises:
        ParityError: one does not compute what the weights compute; names all that do not.
        MissingExtraError: a runtime is not installed. ArtifactError: one cannot be run.
    """
    for path in artifacts:
        format_of(path).require_running()
    verifier = Verifier(origin.checkpoint, origin.profile, photographs, None, True, partial(open_isolated, exact=True))
    proved, wrong = [], []
    for path, beside in artifacts.items():
        started(path.name)
        fmt = format_of(path)
        digest = sha256_of_all(fmt.files(path))
        result = verifier.verify(path)
        proved.append(ProvedFile(path, fmt, result, digest, beside))
        if not result.ok:
            wrong.append(f"{path.name} ({result.report.summary()})")
    if wrong:
        raise ParityError(
            f"not what {origin.name} computes: {', '.join(wrong)}; nothing was published — `u2zoo verify` says why"
        )
    return proved

"""What is published: proved files, their card and their figures; written into a folder, or given to the hub."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from u2net_zoo import __version__
from u2net_zoo.errors import OutputError
from u2net_zoo.files import staged

from .licences import Permission, permission
from .model_card import Card
from .provenance import Origin, artifacts_in, origin_of, source_named_by
from .proving import ProvedFile, prove_all
from .repository_layout import Layout, layout_of

__all__ = ["Plan", "Publication", "check_new"]


@dataclass(frozen=True)
class Plan:
    """What can be said before files are run: which they are, of which weights, and that these may be passed on."""

    artifacts: Mapping[Path, tuple[Path, ...]]
    origin: Origin
    licence: Permission

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        source: str | Path | None = None,
        profile: str | None = None,
        licence: str | None = None,
    ) -> "Plan":
        """Args: `paths`, files or folders of them; `source`, the weights; see `origin_of` and `permission`.

        Raises:
            InputError: a file is no artifact, or the weights cannot be found. OptionError: profile or licence have to
            be said.
        """
        artifacts = artifacts_in(paths)
        origin = origin_of(source if source is not None else source_named_by(artifacts), profile)
        return cls(artifacts, origin, permission(origin.licence, licence))

    def proved(
        self,
        repo: str,
        photographs: Mapping[str, Image.Image],
        started: Callable[[str], None] = lambda name: None,
    ) -> "Publication":
        """Everything run and compared. Raises ParityError: a file is not what the weights compute."""
        files = prove_all(self.artifacts, self.origin, photographs, started)
        layout = layout_of(files, self.origin.checkpoint.arch, self.origin.profile)
        return Publication(repo, self.origin, self.licence, tuple(files), layout)


@dataclass(frozen=True)
class Publication:
    """Proved files and what goes with them."""

    repo: str
    origin: Origin
    licence: Permission
    files: tuple[ProvedFile, ...]
    layout: Layout

    @property
    def contents(self) -> dict[str, Path | str]:
        """Path in the repository -> the file it comes from, or its text."""
        card = Card(self.repo, self.origin, self.licence, self.files, self.layout).text()
        figures = json.dumps(self.figures(), indent=1) + "\n"
        return {"README.md": card, **self.layout.contents, "u2zoo.json": figures}

    def figures(self) -> dict[str, Any]:
        """The proof, for programs."""
        checkpoint = self.origin.checkpoint
        return {
            "u2net_zoo": __version__,
            "weights": {
                "name": self.origin.name,
                "sha256": checkpoint.meta["sha256"],
                "architecture": checkpoint.arch.name,
                "licence": self.licence.name or self.licence.identifier,
                "profile": self.origin.profile.name,
            },
            "files": {place: file.to_json() for place, file in zip(self.layout.places, self.files, strict=True)},
        }

    def message(self) -> str:
        """Of the commit."""
        count = len(self.files)
        return f"{self.origin.name}: {count} file{'s' if count > 1 else ''}, each proved by u2net-zoo {__version__}"

    def check(self) -> None:
        """Raises ArtifactError: a file was changed since it was proved."""
        for file in self.files:
            file.check()

    def stage(self, folder: Path) -> None:
        """Writes what would be uploaded into a new folder, whole or not at all.

        Raises:
            OutputError: something is there already, or it cannot be written.
        """
        check_new(folder)
        self.check()
        with staged(folder) as made:
            for path, content in self.contents.items():
                target = made / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, str):
                    target.write_text(content, encoding="utf-8", newline="\n")
                else:
                    shutil.copyfile(content, target)


def check_new(folder: Path) -> None:
    """Raises OutputError: something is there that would be mixed up with what is published."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"{folder}: is there already; name a new folder with --stage")

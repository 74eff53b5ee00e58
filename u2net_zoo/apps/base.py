"""What an application is: a few options, and what it makes of a photograph and its mask."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from .. import BUNDLED

if TYPE_CHECKING:
    from ..session import MaskSession

__all__ = ["Application", "Result"]


@dataclass(frozen=True)
class Result:
    """What an application made of one photograph.

    Attributes:
        pictures: by what is added to the photograph's name: `""` is the result itself and always there, `"_mask"`
            something beside it.
        facts: what else there is to say, ready for JSON; `warning` is for people.
    """

    pictures: dict[str, Image.Image]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Application(ABC):
    """Base of the applications; each is a frozen dataclass that can be pickled.

    Its fields are its options: commands, the server and the documentation enumerate them. A field's metadata holds
    `help`, one sentence for people; `short`, by which the server takes it as well; `file` where a text may be a file's
    path, which the server takes as an upload only, and `words`, a pattern of what else it may be.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # one sentence that begins with a verb: what it does for people
    examples: ClassVar[Mapping[str, str]] = {}  # what a command line does -> the line: the end of its help
    model: ClassVar[str] = BUNDLED  # the weights that are used unless others are named
    plural: ClassVar[str] = "results"  # what its results are called together
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".webp", ".tif", ".tiff", ".jpg", ".jpeg")  # kinds of its files
    beside: ClassVar[tuple[str, ...]] = ()  # what it adds to the names of further pictures
    photographic: ClassVar[bool] = True  # its pictures show the photograph, so they keep its profile and metadata

    def profile(self, own: str) -> str:
        """The name of the profile by which photographs are prepared unless people name one.

        Args:
            own: the weights' own; see `sources.profile_of`.
        """
        return own

    @classmethod
    def fed(cls, session: "MaskSession", source: str) -> "MaskSession":
        """The session as this application feeds it, where nobody has named a profile.

        Args:
            source: the weights, as they were named.
        """
        return session

    def knowing(self, classes: tuple[str, ...]) -> "Application":
        """The application for weights that tell these classes apart; empty: none that they name."""
        return self

    def before(self, image: Image.Image) -> Image.Image:
        """What the network and `after` see of the upright photograph."""
        return image

    @abstractmethod
    def after(self, image: Image.Image, mask: Image.Image) -> Result:
        """The result of what `before` gave and of its mask ("L", or a class map "P"), both of the same size."""

    def files(self) -> dict[str, str]:
        """The options that name files, and the files: not where the text is one of the option's other words."""
        named = ((f, getattr(self, f.name)) for f in fields(self) if f.metadata.get("file"))
        return {
            f.name: text
            for f, text in named
            if text and not re.fullmatch(f.metadata.get("words", ""), text) and os.path.isfile(text)
        }

    def suffix(self) -> str:
        """What results in a folder are called after the photograph's name, where a source has such a habit."""
        return ""

    def conclude(self, results: Iterable[tuple[str, tuple[int, int], dict[str, Any]]]) -> dict[str, str]:
        """Text files about a whole run: name to content.

        Args:
            results: of every photograph its name, its size (W, H) and its result's facts, in the run's order.
        """
        return {}

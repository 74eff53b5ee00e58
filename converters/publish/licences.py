"""May weights be passed on? What is known says so, or whoever publishes them has to; nothing is guessed."""

import re
from dataclasses import dataclass

from u2net_zoo.errors import OptionError

__all__ = ["Permission", "permission"]

# Names of the Hugging Face Hub, of licences under which anybody may pass weights on under the same terms.
FREE = (
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense", "cc0-1.0", "cc-by-4.0",
    "cc-by-sa-4.0", "mpl-2.0", "gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl-2.1", "lgpl-3.0", "bsl-1.0", "ecl-2.0",
)  # fmt: skip
# Further ones, that say what may be done with the weights: for whoever publishes to judge.
RESTRICTED = (
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "openrail", "creativeml-openrail-m",
    "bigscience-openrail-m", "openmdw-1.0",
)  # fmt: skip
OTHER = "other:"
ASK = "if you may publish them, say under which licence: --licence apache-2.0, mit, …, or --licence 'other: NAME OF IT'"


@dataclass(frozen=True)
class Permission:
    """Under which licence weights are published.

    Attributes:
        identifier: the hub's name; `other` for one that it does not list.
        name: of that other one.
        recorded: what the catalog, the source's repository or the artifacts say; None: nothing.
        asked: whether whoever publishes said it.
    """

    identifier: str
    name: str = ""
    recorded: str | None = None
    asked: bool = False

    def front_matter(self) -> dict[str, str]:
        """As the card's metadata has it."""
        named = {"license_name": re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")} if self.name else {}
        return {"license": self.identifier, **named}

    def sentence(self) -> str:
        title = self.name or self.identifier
        if not self.asked:
            return f"{title}, as recorded for the weights."
        before = f" What was recorded for the weights: {self.recorded}." if self.recorded else ""
        return f"{title}, as whoever published this states.{before}"


def permission(recorded: str | None, said: str | None) -> Permission:
    """What is recorded, where that lets anybody pass the weights on; otherwise what whoever publishes says.

    Raises:
        OptionError: neither does, both say something else, or what is said is no name of a licence.
    """
    known = (recorded or "").strip().lower().replace(" ", "-")
    if said is None:
        if known in FREE:
            return Permission(known, recorded=recorded)
        what = f"is recorded as {recorded!r}, which does not say that anybody may" if recorded else "is not known"
        raise OptionError(f"the licence of the weights {what}; {ASK}")
    chosen = _named(said, recorded)
    if known in FREE and chosen.identifier != known:
        raise OptionError(f"--licence {said}: the weights are under {known}; leave --licence out")
    return chosen


def _named(said: str, recorded: str | None) -> Permission:
    text = said.strip()
    if text.lower().startswith(OTHER) and (name := text[len(OTHER) :].strip()):
        return Permission("other", " ".join(name.split()), recorded, asked=True)
    if text.lower() not in (*FREE, *RESTRICTED):
        names = ", ".join((*FREE, *RESTRICTED))
        raise OptionError(f"--licence {said}: allowed are {names}, or 'other: NAME OF IT'")
    return Permission(text.lower(), recorded=recorded, asked=True)

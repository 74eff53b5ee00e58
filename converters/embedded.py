"""`--io image`: what a profile does to pixels and to d0, as part of the model's own graph.

Pixels 0..255 in RGB order go in, a greyscale mask 0..255 comes out; of weights with classes, each pixel's class. The
formulas are those of `u2net_zoo.preprocessing`, written once here for every framework: its `ops` differ.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import ASSUMED, Checkpoint
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import DARKEST, EMPTY, PROFILES, Profile, get_profile, probability
from u2net_zoo.weight_words import MOST, classes_of

from .options import W8A8

if TYPE_CHECKING:
    from .options import Options

__all__ = [
    "ARITHMETIC",
    "KEY",
    "QUANTISED",
    "EmbeddedPreprocessing",
    "embedded_of",
    "metadata_of",
    "notes_of",
    "read_embedded",
    "read_multiple",
    "read_precision",
    "read_takes",
    "why_no_pictures",
    "words_of_weights",
]

KEY = "u2zoo.profile"  # of an artifact's metadata
MULTIPLE = "u2zoo.multiple"
PRECISION = "u2zoo.precision"
TAKES = "u2zoo.takes"
QUANTISED = "quantised"  # of a checkpoint's metadata: what its kernels were stored in
ARITHMETIC = "arithmetic"  # in which integers its convolutions were computed
# Of the file that weights came from, not of the next one.
OF_SOURCES = (MULTIPLE, PRECISION, TAKES, QUANTISED, ARITHMETIC, *ASSUMED)
DIGITS = 4


class Ops(Protocol):
    """One framework's arithmetic on batches of images; `peak` and `trough` are per image, with all axes kept."""

    def peak(self, x: Any) -> Any: ...
    def trough(self, x: Any) -> Any: ...
    def at_least(self, x: Any, low: float) -> Any: ...
    def between(self, x: Any, low: float, high: float) -> Any: ...
    def sigmoid(self, x: Any) -> Any: ...
    def per_channel(self, values: np.ndarray) -> Any: ...
    def largest_channel(self, x: Any) -> Any: ...


@dataclass(frozen=True)
class EmbeddedPreprocessing:
    """A profile, as it goes into a graph.

    Attributes:
        profile: whose normalisation and ending it is; its `stretch` is what was asked for.
        sigmoid: d0 are logits of a mask, which the profile expects as a probability.
        classes: how many classes d0 tells apart; 1: a mask.
        precision: what the file computes in, and is held to.
    """

    profile: Profile
    sigmoid: bool = False
    classes: int = 1
    precision: str = "fp32"

    def before(self, ops: Ops, pixels: Any) -> Any:
        """The network's input from float pixels in 0..255."""
        profile = self.profile
        top = ops.at_least(ops.peak(pixels), 255 * DARKEST) if profile.by_maximum else 255.0
        mean, std = (ops.per_channel(np.asarray(values, np.float32)) for values in (profile.mean, profile.std))
        return (pixels / top - mean) / std

    def after(self, ops: Ops, d0: Any) -> Any:
        """Grey levels 0..255, not yet whole, from the network's d0; of classes, each pixel's index."""
        if self.classes > 1:
            return ops.largest_channel(d0)
        x = ops.sigmoid(d0) if self.sigmoid else d0
        x = 1.0 - x if self.profile.invert else x
        if not self.profile.stretch:
            return ops.between(x, 0.0, 1.0) * 255.0
        low = ops.trough(x)
        return (x - low) / ops.at_least(ops.peak(x) - low, EMPTY) * 255.0

    def finished(self, d0: np.ndarray) -> np.ndarray:
        """What the profile's own ending makes of d0 (out_ch, h, w): uint8 (h, w), as `after` in a graph should."""
        if self.classes > 1:
            return d0.argmax(axis=0).astype(np.uint8)
        answer = self.profile.answer(self.profile.activation(d0[0]))
        return (answer * np.float32(255)).astype(np.uint8)

    def to_metadata(self) -> dict[str, str]:
        """What an artifact says of itself, for `read_embedded`."""
        words: dict[str, Any] = {"name": self.profile.name, "stretch": self.profile.stretch, "classes": self.classes}
        if self.profile.by_maximum != PROFILES[self.profile.name].by_maximum:
            words["by_maximum"] = self.profile.by_maximum
        if self.profile.palette != PROFILES[self.profile.name].palette:
            words["colours"] = self.profile.palette
        return {KEY: json.dumps({**words, "precision": self.precision})}


def _profile_of(options: "Options") -> Profile:
    profile = get_profile(options.profile or "paper")
    return replace(profile, palette=options.colours) if options.colours else profile


def why_no_pictures(arch: Architecture, options: "Options") -> tuple[str, ...]:
    """Why the profile that is asked for cannot go into the graph of this network, and what helps; empty: it can."""
    profile = _profile_of(options)
    if arch.in_ch != 3:
        return (f"the network takes {_channels(arch.in_ch)}, not RGB",)
    if profile.channels != arch.in_ch:
        return f"profile {profile.name} prepares {_channels(profile.channels)}, not RGB", "name another --profile"
    if arch.out_ch != (len(profile.palette) or 1):
        reads = f"{len(profile.palette)} classes" if profile.palette else "one mask"
        answers = f"the network answers {_channels(arch.out_ch)}, profile {profile.name} reads {reads}"
        return answers, "name the weights' own --profile"
    return ()


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"


def embedded_of(arch: Architecture, options: "Options") -> EmbeddedPreprocessing | None:
    """How the profile that is asked for goes into the graph of this network; None for `--io tensor`.

    Raises:
        OptionError: the network takes no RGB picture, or answers what the profile does not know.
    """
    if options.io != "image":
        return None
    if reasons := why_no_pictures(arch, options):
        raise OptionError(f"--io image: {'; '.join(reasons)}{', or' if reasons[1:] else ';'} take --io tensor")
    profile = _profile_of(options)
    stretch = profile.stretch if options.stretch is None else options.stretch
    if options.precision == W8A8:  # integers are not divided: 255 is 1, and the mask is what the network says
        profile, stretch = replace(profile, by_maximum=False), False
    sigmoid = arch.final != "sigmoid" and profile.activation is probability
    return EmbeddedPreprocessing(replace(profile, stretch=stretch), sigmoid, arch.out_ch, options.precision or "fp32")


def metadata_of(checkpoint: Checkpoint, options: "Options") -> dict[str, str]:
    """What an artifact says of itself: its network, what is known of the weights, and the profile in its graph."""
    embedded = embedded_of(checkpoint.arch, options)
    sides = {MULTIPLE: str(checkpoint.arch.stride)} if options.span else {}
    known = {key: value for key, value in checkpoint.meta.items() if key not in OF_SOURCES}
    takes = {} if embedded else {TAKES: "normalised"}
    return {"architecture": checkpoint.arch.name, **known, **takes, **notes_of(options, embedded), **sides}


def words_of_weights(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a file says of its weights, without what only a reader can say of the file that it reads."""
    return {key: value for key, value in metadata.items() if key not in (QUANTISED, ARITHMETIC, *ASSUMED)}


def notes_of(options: "Options", embedded: EmbeddedPreprocessing | None) -> dict[str, str]:
    """What a reader has to know to run and judge an artifact: the profile in its graph, its reduced precision."""
    reduced = {PRECISION: options.precision} if options.precision not in (None, "fp32") else {}
    return {**(embedded.to_metadata() if embedded else {}), **reduced}


def read_takes(metadata: Mapping[str, str]) -> str | None:
    """What a file without a profile in its graph says that it takes; whoever reads it looks it up in `INPUTS`."""
    said = metadata.get(TAKES)
    return said if isinstance(said, str) else None


def read_precision(metadata: Mapping[str, str]) -> str | None:
    """The reduced precision that an artifact's metadata names; whoever reads it looks it up in the format's bounds."""
    said = metadata.get(PRECISION)
    return said if isinstance(said, str) else None


def read_multiple(metadata: Mapping[str, str]) -> int:
    """Of what the sides of a model for a range of sizes have to be multiples; 1 where it does not say."""
    said = metadata.get(MULTIPLE, "")
    return max(1, int(said)) if said.isascii() and said.isdecimal() and len(said) <= DIGITS else 1


def read_embedded(metadata: Mapping[str, str]) -> EmbeddedPreprocessing | None:
    """What an artifact's metadata says is in its graph; None when nothing is, or nothing that makes sense."""
    try:
        found = json.loads(metadata[KEY])
        profile = replace(PROFILES[found["name"]], stretch=bool(found["stretch"]))
        profile = replace(profile, by_maximum=bool(found.get("by_maximum", profile.by_maximum)))
        profile = replace(profile, palette=_palette(found["colours"])) if "colours" in found else profile
        profile = _with_names(profile, metadata)
        embedded = EmbeddedPreprocessing(profile, classes=int(found["classes"]), precision=str(found["precision"]))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return embedded if embedded.classes == (len(profile.palette) or 1) else None


def _palette(values: Any) -> tuple[tuple[int, int, int], ...]:
    """Raises ValueError, TypeError."""
    colours = [tuple(int(level) & 0xFF for level in colour) for colour in values[:MOST]]
    return tuple((red, green, blue) for red, green, blue in colours)


def _with_names(profile: Profile, metadata: Mapping[str, str]) -> Profile:
    classes = classes_of(metadata)
    return (
        replace(profile, classes=classes.names) if classes and len(classes.names) == len(profile.palette) else profile
    )

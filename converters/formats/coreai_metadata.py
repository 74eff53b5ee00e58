"""What an app developer expects an asset of Core AI to say of itself; written after the proof, with its figures."""

from pathlib import Path

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.preprocessing import PROFILES

from ..coreai.asset import write_words
from ..embedded import metadata_of
from ..options import Options, describe
from ..parity_report import Report
from .coreml_metadata import AUTHORS, labels_of, parity_words, purpose

__all__ = ["PROFILE", "describe_asset", "write_notes"]

PROFILE = "u2zoo.prepared"  # whose preparation photographs need, of an asset that takes tensors


def write_notes(path: Path, checkpoint: Checkpoint, options: Options) -> None:
    """What a reader has to know to run and judge the asset, as far as it is known before the proof."""
    asks = {PROFILE: options.profile} if options.profile and options.io != "image" else {}
    write_words(path, {}, {**metadata_of(checkpoint, options), **asks})


def describe_asset(path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
    """Adds author, licence, description and the figures of the proof. Assets have no place for a version of their own,
    nor for a description of each input."""
    words = {
        "author": f"{AUTHORS}; converted by u2net-zoo {__version__}",
        "license": checkpoint.meta.get("licence", "unknown: that of the weights"),
        "description": f"{purpose(checkpoint, options)}. {_input(options)} {_output(checkpoint, options)}",
    }
    write_words(path, words, parity_words(report))


def _input(options: Options) -> str:
    sizes = " to ".join(describe(size) for size in options.span) if options.span else describe(options.size)
    if options.io == "image":
        return (
            f"image: the photograph at {sizes} (height x width), RGB, uint8 (1, 3, H, W); nothing is to be normalised."
        )
    return f"image: the photograph at {sizes} (height x width), RGB, normalised as the weights' profile says, float32."


def _output(checkpoint: Checkpoint, options: Options) -> str:
    classes = checkpoint.arch.out_ch
    if options.io != "image":
        return f"mask: d0, float32 (N, {classes}, H, W)."
    if classes > 1:
        listed = ", ".join(f"{n} {label}" for n, label in enumerate(labels_of(checkpoint, options)))
        return f"mask: each pixel's class, uint8 (1, 1, H, W): {listed}."
    white = "paper" if PROFILES[options.profile or "paper"].invert else "object"
    return f"mask: grey levels, uint8 (1, 1, H, W): white is the {white}."

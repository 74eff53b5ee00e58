"""What a conversion is going to write: each format's options in force, and where its files go. Refused here or never.

Nothing is written, fetched or run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OutputError, UnknownNameError
from u2net_zoo.preprocessing import KNOWN_PROFILES, get_profile
from u2net_zoo.sources import Located, file_of, known_profile
from u2net_zoo.weight_words import COLOURS, classes_of, own_words

from .. import sample_images
from ..embedded import why_no_pictures
from ..format import Format
from ..loading import profile_in
from ..options import Options
from ..registry import FORMATS

__all__ = ["Target", "at_the_size_of", "check_options", "formats_named", "target_of"]


@dataclass(frozen=True)
class Target:
    """One format's part of a conversion.

    Attributes:
        options: those in force, all of them settled.
        path: the artifact.
        beside: text files that are written next to it, and what they hold.
        remarks: what somebody who takes the artifact into a program has to know of it; a sentence each.
    """

    fmt: Format
    options: Options
    path: Path
    beside: dict[Path, str]
    remarks: tuple[str, ...] = ()


def formats_named(names: Sequence[str] | str) -> list[Format]:
    """Formats of a list or of a comma-separated string; `all` stands for every one that can be written here
    without a network.

    Raises:
        UnknownNameError: there is no such format.
    """
    wanted = names.split(",") if isinstance(names, str) else list(names)
    wanted = [name.strip().lower() for name in wanted if name.strip()]
    every = [name for name, fmt in FORMATS.items() if fmt.in_all()] if "all" in wanted else []
    chosen = every + [name for name in wanted if name != "all"]
    for name in chosen or [""]:
        if name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    return [FORMATS[name] for name in dict.fromkeys(chosen)]


def check_options(formats: Sequence[Format], options: Options) -> None:
    """What can be said before any work, a download among it.

    Raises:
        UsageError: a format cannot honour an option. InputError: the calibration folder holds no photographs.
    """
    for fmt in formats:
        fmt.settle(options)
    if options.calibration is not None:
        sample_images.listed(options.calibration)


def at_the_size_of(source: str | Path | Checkpoint, options: Options) -> Options:
    """`options`, at the size that weights of a known profile were trained for when no other was asked for."""
    if isinstance(source, Checkpoint) or options.size is not None:
        return options
    profile = known_profile(source) or profile_in(file_of(source))
    if profile is None:
        return options
    side = get_profile(profile).size
    return replace(options, size=(side, side))


def target_of(fmt: Format, asked: Options, checkpoint: Checkpoint, located: Located | None, path: Path) -> Target:
    """One format's target, checked against the network and against what lies at `path`.

    Args:
        located: the source; None where it is no file.

    Raises:
        UsageError: the format cannot honour an option. OutputError: something is in the way.
    """
    settled = _with_profile(fmt, fmt.settle(asked), located, checkpoint)
    options, why = _fall_back_to_tensor(fmt, asked, settled, checkpoint)
    fmt.check(checkpoint, options)
    fmt.check_target(path)
    if located and path.exists() and located.path.exists() and path.samefile(located.path):
        raise OutputError(f"{path}: would replace the source itself; name another folder with -o")
    beside = fmt.companions(path, checkpoint, options)
    for file, text in beside.items():
        _check_beside(file, text, path)
    return Target(fmt, options, path, beside, (*fmt.remarks(options), *why))


def _check_beside(file: Path, text: str, target: Path) -> None:
    """Raises OutputError where `file` is somebody else's: its first line says what it was made for."""
    if file.is_dir() or (file.exists() and not file.read_bytes().startswith(text.partition("\n")[0].encode())):
        raise OutputError(f"{file}: was not written for {target.name}; move it or name another folder with -o")


def _with_profile(fmt: Format, options: Options, located: Located | None, checkpoint: Checkpoint) -> Options:
    """The profile that an artifact gets which prepares pictures: what was asked for, or what belongs to the weights.

    The colours of their classes are theirs under any profile.
    """
    if options.io != "image" and not fmt.prepares:
        return options
    said = own_words(checkpoint.meta)
    classes = classes_of(said) if COLOURS in said else None
    options = replace(options, colours=classes.colours) if classes else options
    own = (located.profile if located else None) or said.get("profile")
    return options if options.profile else replace(options, profile=own if own in KNOWN_PROFILES else "paper")


def _fall_back_to_tensor(
    fmt: Format, asked: Options, chosen: Options, checkpoint: Checkpoint
) -> tuple[Options, tuple[str, ...]]:
    """The tensor, where pictures are a format's default but not for this network; and a sentence that says why."""
    if chosen.io != "image" or (asked.io, asked.profile, asked.stretch) != (None, None, None):
        return chosen, ()
    if reasons := why_no_pictures(checkpoint.arch, chosen):
        said = f"{fmt.name} takes a tensor, not pictures: {'; '.join(reasons)}"
        return fmt.settle(replace(asked, io="tensor")), (said,)
    return chosen, ()

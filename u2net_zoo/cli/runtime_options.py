"""What runs the model: the options that commands share, and the session that follows from them."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converters.registry import FORMATS

from ..conventions import INPUTS
from ..devices import DEVICES
from . import completion
from .console import state

if TYPE_CHECKING:
    from ..api import Session

__all__ = [
    "MODEL",
    "PANEL",
    "DeviceOption",
    "InputOption",
    "ModelOption",
    "RuntimeOption",
    "check_runtime",
    "class_names",
    "open_session",
    "own_profile",
]

MODEL = "Weights, a converted model of any format, a catalog name, or hf:OWNER/NAME."
PANEL = "Model"
ModelOption = Annotated[
    Path, typer.Option("--model", rich_help_panel=PANEL, help=MODEL, autocompletion=completion.sources)
]
RuntimeOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=PANEL,
        help=f"Runtime of weights: auto (the fastest one, measured once), torch, {', '.join(FORMATS)}.",
        autocompletion=completion.runtimes,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=PANEL,
        help=f"Device: {', '.join(DEVICES)}, or auto (the first GPU that is found, else cpu).",
        autocompletion=completion.devices,
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        rich_help_panel=PANEL,
        help=f"Input convention of a converted model, if it cannot be detected: {', '.join(INPUTS)}.",
        autocompletion=completion.inputs,
    ),
]


def open_session(model: str | Path, profile: str | None, runtime: str, takes: str | None, device: str) -> "Session":
    """The session, and a line on stderr where an engine was tried or a device chosen for it."""
    from converters.progress import watched

    from ..api import Session

    with contextlib.ExitStack() as stack:
        bar = state.bar or stack.enter_context(state.progress())
        stack.enter_context(watched(lambda text: bar.update(bar.task_ids[0], description=text)))
        session = Session(model, profile=profile, runtime=runtime, takes=takes, device=device)
    if session.engine.new:
        state.note(str(session.engine))
    return session


def check_runtime(runtime: str, device: str) -> None:
    """Raises UnknownNameError."""
    from converters.engines import runtime_named

    from ..devices import get_device

    runtime_named(runtime)
    get_device(device)


def class_names(model: Path) -> tuple[str, ...]:
    """The classes that weights tell apart, as far as their file, or the catalog, names them; fetches nothing.

    Of a name of the hub its file has to be given: see `sources.file_of`.
    """
    from converters.loading import classes_in

    from ..sources import in_catalog

    if entry := in_catalog(model):
        return entry.classes
    classes = classes_in(model)
    return classes.names if classes else ()


def own_profile(model: Path, kind: str) -> str:
    """The profile of weights that are here: what the catalog or the hub knows, what their file names, or that of the
    catalog's entry `kind`."""
    from converters.loading import profile_in

    from ..sources import file_of, known_profile, profile_of

    return known_profile(model) or profile_in(file_of(model)) or profile_of(model, kind)

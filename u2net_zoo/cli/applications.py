"""A command for each application of the registry: the options that all share, and its own, which are its fields."""

import inspect
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..devices import AUTO, CPU
from . import completion
from .help_pages import PANELS, USE, Command, Group, epilog_of
from .runtime_options import PANEL, DeviceOption, InputOption, ModelOption, RuntimeOption

if TYPE_CHECKING:
    from ..apps.base import Application
    from .run_application import Request

    Run = Callable[[Application, Request], None]

__all__ = ["Commands", "command_of", "parser_of"]

MANY = "Many photographs"

COMMON: dict[str, tuple[Any, Any]] = {
    "images": (
        Annotated[list[str], typer.Argument(help="Photographs, folders or globs; - is standard input.")],
        inspect.Parameter.empty,
    ),
    "out": (
        Annotated[str, typer.Option("-o", "--out", help="File or folder of results; - is standard output.")],
        inspect.Parameter.empty,
    ),
    "model": (ModelOption, None),
    "profile": (Annotated[str | None, typer.Option(rich_help_panel=PANEL)], None),
    "runtime": (RuntimeOption, AUTO),
    "device": (DeviceOption, CPU),
    "input": (InputOption, None),
    "recursive": (
        Annotated[bool, typer.Option("--recursive", rich_help_panel=MANY, help="Look into subfolders too.")],
        False,
    ),
    "resume": (
        Annotated[
            bool,
            typer.Option("--resume", rich_help_panel=MANY, help="Go on with an earlier run: skip what it finished."),
        ],
        False,
    ),
    "errors": (
        Annotated[
            Path | None, typer.Option(rich_help_panel=MANY, help="Write a CSV file of failed photographs, and why.")
        ],
        None,
    ),
    "workers": (
        Annotated[
            int | None,
            typer.Option(
                min=1,
                max=256,
                rich_help_panel=MANY,
                help="Processes that decode and encode; with Ray: that run the model.",
            ),
        ],
        None,
    ),
    "engine": (Annotated[str, typer.Option(rich_help_panel=MANY, help="local or ray.")], "local"),
    "address": (
        Annotated[
            str | None, typer.Option(rich_help_panel=MANY, help="A Ray cluster; by default one is started here.")
        ],
        None,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")], False),
}  # fmt: skip


class Commands(Group):
    """The commands of `u2zoo`. Applications are imported when one of them is called, or all are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Panel by panel, in each the applications first."""
        from ..apps.registry import APPLICATIONS

        panels = dict.fromkeys(APPLICATIONS, USE) | {
            name: getattr(command, "rich_help_panel", None) for name, command in self.commands.items()
        }
        return sorted(panels, key=lambda name: [*PANELS, panels[name]].index(panels[name]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if found := super().get_command(ctx, cmd_name):
            return found
        from ..apps.registry import APPLICATIONS

        if cmd_name not in APPLICATIONS:
            return None
        return parser_of(APPLICATIONS[cmd_name])


def parser_of(kind: "type[Application]", run: "Run | None" = None) -> Any:
    """The command of an application as Typer has it; see `command_of`."""
    alone = typer.Typer(add_completion=False)
    alone.command(kind.name, cls=Command, rich_help_panel=USE, epilog=epilog_of(kind.examples))(command_of(kind, run))
    return typer.main.get_command(alone)


def command_of(kind: "type[Application]", run: "Run | None" = None) -> Callable[..., None]:
    """The function behind a command: its parameters are the common ones and the application's fields.

    Args:
        run: what it does with them; None: `run_request`.
    """

    def command(**values: Any) -> None:
        from .run_application import Request, run_request

        own = {field.name: values.pop(field.name) for field in fields(kind)}
        (run or run_request)(kind(**own), Request(**values))

    common = {**COMMON, "model": (COMMON["model"][0], Path(kind.model)), "profile": (_profile(kind), None)}
    both = {**common, **_own_options(kind)}
    command.__name__, command.__doc__ = kind.name, kind.title
    command.__annotations__ = {name: annotation for name, (annotation, _) in both.items()}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in both.items()
        ]
    )
    return command


def _profile(kind: "type[Application]") -> Any:
    from ..sources import profile_of

    usual = kind().profile(profile_of(kind.model, kind.model))
    text = f"Preprocessing profile: paper, rembg …; by default the catalog's or the file's own, else {usual}."
    return Annotated[str | None, typer.Option(rich_help_panel=PANEL, help=text, autocompletion=completion.profiles)]


def _own_options(kind: "type[Application]") -> dict[str, tuple[Any, Any]]:
    """(annotation, default) of each field of the application."""
    hints = typing.get_type_hints(kind)
    own = {}
    for field in fields(kind):
        option = typer.Option(help=field.metadata.get("help"))
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        own[field.name] = (Annotated[hints[field.name], option], default)
    return own

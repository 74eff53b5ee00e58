"""`u2zoo tools`."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import human_bytes, state
from .help_pages import Command, epilog_of
from .terminal import Whole

if TYPE_CHECKING:
    from converters.tools import Environment

__all__ = ["EXAMPLES", "app"]

EXAMPLES = {
    "Which tools are there, and which are installed?": "u2zoo tools",
    "Install one now instead of on first use": "u2zoo tools make onnx2tf",
}

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Name = Annotated[str, typer.Argument(help="A tool; `u2zoo tools` shows them.")]
MAKE = {
    "Install a tool now": "u2zoo tools make onnx2tf",
    "For a program": "u2zoo tools make onnx2tf --json",
}
REMOVE = {
    "Free a tool's disk space": "u2zoo tools remove onnx2tf",
    "For a program": "u2zoo tools remove onnx2tf --json",
}

app = typer.Typer(invoke_without_command=True)


@app.callback()
def tools(context: typer.Context, json: Json = False) -> None:
    """List, install and remove tools that need their own environment."""
    if context.invoked_subcommand:
        return
    state.json = json
    from converters.tools import TOOLS, Environment
    from u2net_zoo.catalog import home

    rows = [_row(Environment(tool)) for tool in TOOLS.values()]
    state.document({"home": str(home()), "tools": rows})
    headings = ("name", "what", "for", "Python", "state", "size")
    state.table(headings, [_cells(row) for row in rows])


@app.command("make", cls=Command, epilog=epilog_of(MAKE))
def make(name: Name, json: Json = False) -> None:
    """Install a tool now; otherwise its first use does."""
    state.json = json
    from converters.progress import watched
    from converters.tools import Environment, get_tool

    environment = Environment(get_tool(name))
    with state.progress() as bar, watched(lambda text: bar.update(bar.task_ids[0], description=text)):
        environment.make()
    row = _row(environment)
    state.result(name, Whole(row["path"]), human_bytes(row["bytes"]))
    state.document(row)


@app.command("remove", cls=Command, epilog=epilog_of(REMOVE))
def remove(name: Name, json: Json = False) -> None:
    """Remove a tool, and what an interrupted installation left."""
    state.json = json
    from converters.tools import Environment, get_tool

    freed = Environment(get_tool(name)).remove()
    state.result(name, "removed", human_bytes(freed))
    state.document({"name": name, "bytes": freed})


def _cells(row: dict) -> tuple[str, ...]:
    size = human_bytes(row["bytes"]).replace(" ", "\N{NO-BREAK SPACE}") if row["bytes"] else ""
    return row["name"], row["title"], row["for"], ", ".join(row["pythons"]), row["state"], size


def _row(environment: "Environment") -> dict:
    tool = environment.tool
    return {
        "name": tool.name,
        "title": tool.title,
        "for": tool.purpose,
        "pythons": [".".join(map(str, python)) for python in tool.pythons],
        "packages": len(tool.packages),
        "path": str(environment.path),
        "state": environment.state,
        "bytes": environment.bytes,
    }

"""`u2zoo tools`."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import human_bytes, state
from .terminal import Whole

if TYPE_CHECKING:
    from converters.tools import Environment

__all__ = ["app"]

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Name = Annotated[str, typer.Argument(help="A tool; `u2zoo tools` shows them.")]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def tools(context: typer.Context, json: Json = False) -> None:
    """Show the tools that live in environments of their own, and what these take; make and remove them."""
    if context.invoked_subcommand:
        return
    state.json = json
    from converters.tools import TOOLS, Environment
    from u2net_zoo.catalog import home

    rows = [_row(Environment(tool)) for tool in TOOLS.values()]
    state.document({"home": str(home()), "tools": rows})
    headings = ("name", "what", "for", "Python", "state", "size")
    state.table(headings, [_cells(row) for row in rows])


@app.command("make")
def make(name: Name, json: Json = False) -> None:
    """Make a tool's environment now; otherwise its first use does."""
    state.json = json
    from converters.progress import watched
    from converters.tools import Environment, get_tool

    environment = Environment(get_tool(name))
    with state.progress() as bar, watched(lambda text: bar.update(bar.task_ids[0], description=text)):
        environment.make()
    row = _row(environment)
    state.result(name, Whole(row["path"]), human_bytes(row["bytes"]))
    state.document(row)


@app.command("remove")
def remove(name: Name, json: Json = False) -> None:
    """Remove a tool's environment, and what an interrupted one left."""
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

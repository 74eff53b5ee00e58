"""The commands together, and what becomes of errors."""

import signal
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import U2ZooError, install_hint, one_line
from ..system import ending_signals
from . import bench, convert, engines, eval, fetch, formats, frames, info, serve, tools, train, verify, video, watching
from . import list as listing
from .applications import Commands
from .console import say_anything, state

__all__ = ["main"]

INTERRUPTED = 130  # what shells call a process that Ctrl-C ended

app = typer.Typer(
    name="u2zoo",
    cls=Commands,  # adds a command for each application
    help="A model zoo and converter for the U²-Net family: every conversion is proved before it is kept.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("bench")(bench.bench)
app.command("convert")(convert.convert)
app.command("engines")(engines.engines)
app.command("eval")(eval.evaluate)
app.command("fetch")(fetch.fetch)
app.command("formats")(formats.formats)
app.command("frames")(frames.frames)
app.command("info")(info.info)
app.command("list")(listing.list_weights)
app.command("serve")(serve.serve)
app.add_typer(tools.app, name="tools")
app.command("train")(train.train)
app.command("verify")(verify.verify)
app.command("video")(video.video)
app.command("watch", context_settings=watching.PASSES_ON)(watching.watch)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and what the frameworks print.")] = False,
) -> None:
    state.debug = debug
    if version:
        print(f"u2zoo {__version__}")
        raise typer.Exit


def _end_politely() -> None:
    """SIGTERM, and a terminal that is closed, end the program as errors do: unfinished files are removed."""
    for number in ending_signals():
        if signal.getsignal(number) == signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, lambda code, _: sys.exit(128 + code))


def main() -> None:
    """Entry point of `u2zoo`. Ends with 0, 1 (a proof or an exporter failed) or 2 (the request cannot be met)."""
    _end_politely()
    say_anything()
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # typer has taken the KeyboardInterrupt for itself
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.TyperException as error:
        if not error.format_message():  # no command at all: its help was shown
            sys.exit(2)
        state.fail(error.format_message(), error, code=2)
    except U2ZooError as error:
        state.fail(str(error), error, code=error.exit_code)
    except OSError as error:
        state.fail(f"{error.filename or 'input/output'}: {error.strerror or error}", error, code=2)
    except MemoryError as error:
        state.fail("out of memory; try a smaller --size or one format at a time", error, code=1)
    except (KeyboardInterrupt, typer.Abort) as error:
        state.fail("interrupted; nothing unfinished was kept", error, code=INTERRUPTED)
    except ModuleNotFoundError as error:
        text = f"this needs the package {error.name!r}, which is not installed: {install_hint('all')}"
        state.fail(text, error, code=2)
    except Exception as error:  # a fault of ours: one line all the same
        state.fail(f"unexpected: {one_line(error)}; run `u2zoo --debug …` and report what it shows", error, code=1)

"""The commands together, and what becomes of errors."""

import gc
import signal
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import U2ZooError, install_hint, one_line
from ..system import ending_signals
from . import (
    bench,
    convert,
    engines,
    eval,
    fetch,
    formats,
    frames,
    info,
    publish,
    serve,
    tools,
    train,
    verify,
    video,
    watching,
)
from . import list as listing
from .applications import Commands
from .console import say_anything, state
from .help_pages import CONVERT, SERVE, TRAIN, USE, Command, Group, epilog_of
from .terminal import Whole

__all__ = ["main"]

INTERRUPTED = 130  # what shells call a process that Ctrl-C ended
NAME = "u2zoo"  # in usage, in examples and for completion, however the program was started
ABOUT = "Convert U²-Net weights to any format, prove each file, and use it: masks, cut-outs, videos."

app = typer.Typer(
    name=NAME,
    cls=Commands,  # adds a command for each application
    help=ABOUT,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The order of help, panel by panel.
TABLE = (
    ("convert", convert.convert, CONVERT, convert.EXAMPLES),
    ("verify", verify.verify, CONVERT, verify.EXAMPLES),
    ("info", info.info, CONVERT, info.EXAMPLES),
    ("formats", formats.formats, CONVERT, formats.EXAMPLES),
    ("bench", bench.bench, CONVERT, bench.EXAMPLES),
    ("list", listing.list_weights, CONVERT, listing.EXAMPLES),
    ("fetch", fetch.fetch, CONVERT, fetch.EXAMPLES),
    ("publish", publish.publish, CONVERT, publish.EXAMPLES),
    ("video", video.video, USE, video.EXAMPLES),
    ("frames", frames.frames, USE, frames.EXAMPLES),
    ("watch", watching.watch, USE, watching.EXAMPLES),
    ("engines", engines.engines, USE, engines.EXAMPLES),
    ("train", train.train, TRAIN, train.EXAMPLES),
    ("eval", eval.evaluate, TRAIN, eval.EXAMPLES),
    ("serve", serve.serve, SERVE, serve.EXAMPLES),
)
PASSES_ON = {"watch": watching.PASSES_ON}
for name, function, panel, examples in TABLE:
    settings = PASSES_ON.get(name)
    app.command(name, cls=Command, rich_help_panel=panel, epilog=epilog_of(examples), context_settings=settings)(
        function
    )
app.add_typer(tools.app, name="tools", cls=Group, rich_help_panel=CONVERT, epilog=epilog_of(tools.EXAMPLES))


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and what the frameworks print.")] = False,
) -> None:
    gc.freeze()  # what the imports left is here to stay
    gc.enable()
    state.debug = debug
    if version:
        print(f"{NAME} {__version__}")
    elif context.invoked_subcommand is None:
        _introduce()


def _introduce() -> None:
    """What is said to somebody who types the program's name alone: what it is, and how to begin."""
    from ..apps.mask import Mask

    state.result(ABOUT)
    for examples in (convert.EXAMPLES, Mask.examples, verify.EXAMPLES):
        what, line = next(iter(examples.items()))
        state.result(Whole(f"\n  # {what}\n  {line}"))
    state.result(f"\n{NAME} --help lists all commands; {NAME} COMMAND --help shows a command's options and examples.")


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
        code = app(standalone_mode=False, prog_name=NAME) or 0
        if code == INTERRUPTED:  # typer has taken the KeyboardInterrupt for itself
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.TyperException as error:
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

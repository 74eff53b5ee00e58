"""`u2zoo serve`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import BUNDLED
from ..devices import AUTO, CPU
from ..errors import MissingExtraError, OptionError
from ..system import processors
from . import completion
from .console import state
from .fetch import fetch_source
from .runtime_options import PANEL, DeviceOption, InputOption, ModelOption, RuntimeOption, check_runtime, open_session

if TYPE_CHECKING:
    from ..session import MaskSession

__all__ = ["EXAMPLES", "serve"]

EXAMPLES = {
    "A page and an API on this machine": "u2zoo serve",
    "Other weights, for the whole network": "u2zoo serve --model u2netp --host 0.0.0.0 --port 8080",
}


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; other machines can reach anything but loopback.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0: any free one.")] = 8000,
    model: ModelOption = Path(BUNDLED),
    profile: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="Preprocessing profile; by default the weights' own.",
            autocompletion=completion.profiles,
        ),
    ] = None,
    runtime: RuntimeOption = AUTO,
    device: DeviceOption = CPU,
    takes: InputOption = None,
    max_pixels: Annotated[int, typer.Option(help="Of one photograph.")] = 24_000_000,
    max_bytes: Annotated[int, typer.Option(help="Of one upload.")] = 32 << 20,
    queue: Annotated[int, typer.Option(help="Photographs that may wait; the next one is answered with 503.")] = 16,
    timeout: Annotated[
        float,
        typer.Option(help="Seconds for an upload, for its turn to come, for its answer, and for taking that, each."),
    ] = 30.0,
) -> None:
    """Serve an API for masks and a page to try it in the browser."""
    from ..preprocessing import get_profile
    from ..serve.limits import Limits

    limits = Limits(max_pixels, max_bytes, queue, timeout)
    if not 0 <= port <= 65535:
        raise OptionError(f"--port {port}: allowed is 0 to 65535")
    if profile:
        get_profile(profile)
    _check_extra()
    from ..serve import server
    from ..serve.sessions import Sessions

    check_runtime(runtime, device)
    fetch_source(model)
    from converters.memory import return_large_blocks

    return_large_blocks()  # a large photograph's memory goes back when it is done
    # One processor is for decoding, encoding and the connections. Torch's threads wait for each other by spinning: on
    # two busy cores a mask took 0.89 s with two threads and 0.26 s with one (2026-11-21).
    os.environ.setdefault("OMP_NUM_THREADS", str(max(processors() - 1, 1)))
    listening = server.listen(host, port)

    def opened(source: str, chosen: str | None) -> "MaskSession":
        own = takes if source == str(model) else None  # others have weights of their own
        return open_session(source, chosen, runtime, own, device)

    sessions = Sessions(opened, model, profile)
    with state.quiet():
        sessions.open_model()
    address = listening.getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    try:
        state.result(f"http://{shown}:{address[1]}", model, "Ctrl-C ends it")
        server.serve(sessions, listening, limits)
    except (KeyboardInterrupt, SystemExit):  # uvicorn passes on the signal that ended it: that is how it is meant
        state.result("ended")


def _check_extra() -> None:
    from importlib.util import find_spec

    for package, module in (("fastapi", "fastapi"), ("uvicorn", "uvicorn"), ("python-multipart", "python_multipart")):
        if find_spec(module) is None:
            raise MissingExtraError("u2zoo serve", package, "serve")

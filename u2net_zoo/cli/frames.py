"""`u2zoo frames`."""

import json as json_module
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from .. import BUNDLED
from ..conventions import INPUTS
from ..devices import AUTO, CPU
from ..errors import OptionError
from .console import state
from .fetch import fetch_source
from .runtime_options import DeviceOption, ModelOption, RuntimeOption, check_runtime, open_session

__all__ = ["EXAMPLES", "frames"]

EXAMPLES = {
    "Cut out raw frames, as FFmpeg pipes them": "u2zoo frames --size 1280x720 < frames.rgb > cut.rgba",
    "Put them before white; what comes out is rgb24 then": (
        "u2zoo frames --size 1280x720 --background white < frames.rgb > white.rgb"
    ),
}


def frames(
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of every frame, as FFmpeg writes it: 1280x720.")],
    show: Annotated[
        str | None,
        typer.Option(
            help="cutout (rgba), replace (rgb24) or mask (gray); by default replace with --background, else cutout."
        ),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="A colour, a picture or blur:SIGMA; for --show replace.")
    ] = None,
    smooth: Annotated[
        float, typer.Option(help="From 0 to below 1: the share of the masks before in each mask; starts anew at cuts.")
    ] = 0.0,
    model: ModelOption = Path(BUNDLED),
    profile: Annotated[
        str | None, typer.Option(help="How frames are prepared: paper, rembg …; by default as the catalog says.")
    ] = None,
    runtime: RuntimeOption = AUTO,
    device: DeviceOption = CPU,
    takes: Annotated[
        str | None,
        typer.Option("--input", help=f"What the artifact takes, if that cannot be found out: {', '.join(INPUTS)}."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object at the end, on stderr: stdout is for frames.")
    ] = False,
) -> None:
    """Cut out raw frames: rgb24 on standard input, rgba on standard output, as between two FFmpegs."""
    from ..apps.video.looks import look
    from ..apps.video.raw_frames import ASK, parse_frame_size, run_frames
    from ..apps.video.smoothing import Smoother
    from ..preprocessing import get_profile

    state.json = json
    sides, smoother = parse_frame_size(size), Smoother(smooth)
    chosen = look(show or ("replace" if background else "cutout"), background)
    check_runtime(runtime, device)
    if profile:
        get_profile(profile)
    if sys.stdin.isatty():
        raise OptionError(f"standard input is a terminal; {ASK}")
    fetch_source(model)
    start = time.perf_counter()
    with state.quiet(), state.progress() as bar:
        session = open_session(model, profile, runtime, takes, device)
        # A stream of its own: what is left in a buffer when nobody takes it would be a second error.
        with os.fdopen(os.dup((state.out or sys.stdout).fileno()), "wb", buffering=0) as target:
            count, pixels = run_frames(
                sys.stdin.buffer, target, sides, session, chosen, smoother,
                lambda done: bar.update(bar.task_ids[0], completed=done),
            )  # fmt: skip
    seconds = round(time.perf_counter() - start, 3)
    if json:
        told = {"model": str(model), "profile": session.profile.name, "frames": count, "size": list(sides)}
        told |= {"pixels": pixels, "cuts": smoother.cuts, "seconds": seconds}
        print(json_module.dumps(told), file=sys.stderr, flush=True)
    else:
        state.note(f"{count} frames  {sides[0]}x{sides[1]}  {pixels}  {seconds:.1f} s")

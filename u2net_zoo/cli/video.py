"""`u2zoo video`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import BUNDLED
from ..devices import AUTO, CPU
from ..errors import OutputError
from ..system import same_file
from . import completion
from .console import state
from .fetch import fetch_source
from .runtime_options import PANEL, DeviceOption, InputOption, ModelOption, RuntimeOption, check_runtime, open_session

if TYPE_CHECKING:
    from ..apps.video import Summary, VideoJob

__all__ = ["EXAMPLES", "video"]

EXAMPLES = {
    "Cut out the main object; WebM and MOV keep transparency": "u2zoo video clip.mp4 -o cutout.webm",
    "Another background, with less flicker": ("u2zoo video clip.mp4 -o moved.mp4 --background beach.jpg --smooth 0.5"),
    "The masks, a PNG file for each frame": "u2zoo video clip.mp4 -o frames --show mask",
}


def video(
    source: Annotated[Path, typer.Argument(help="A video of any kind that FFmpeg reads.", metavar="IN")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The video: .mp4, .mov or .webm; without a suffix a folder of PNG files."),
    ],
    show: Annotated[
        str | None,
        typer.Option(help="cutout (with alpha), replace or mask; by default cutout, with --background replace."),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="A colour, a picture or blur:SIGMA; for --show replace.")
    ] = None,
    smooth: Annotated[
        float,
        typer.Option(help="Less flicker: the share of earlier frames in each mask, 0 to below 1; new at each cut."),
    ] = 0.0,
    audio: Annotated[bool, typer.Option(help="Keep the sound.")] = True,
    model: ModelOption = Path(BUNDLED),
    profile: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="Preprocessing profile: paper, rembg …; by default the weights' own.",
            autocompletion=completion.profiles,
        ),
    ] = None,
    runtime: RuntimeOption = AUTO,
    device: DeviceOption = CPU,
    takes: InputOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Cut out videos, or replace their background; sound is kept."""
    state.json = json
    from dataclasses import asdict

    from ..apps.video import VideoJob
    from ..preprocessing import get_profile

    with state.quiet():
        job = VideoJob(source, out, show or ("replace" if background else "cutout"), background, smooth, audio)
    if same_file(out, model):
        raise OutputError(f"{out}: would replace the model that is read; name another file with -o")
    check_runtime(runtime, device)
    if profile:
        get_profile(profile)
    fetch_source(model)
    with state.quiet(), state.progress() as bar:
        bar.update(bar.task_ids[0], description=source.name)
        session = open_session(model, profile, runtime, takes, device)
        summary = job.run(session, lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total))
    _say(job, summary)
    chosen = {"source": str(source), "out": str(out), "show": job.show, "background": background, "smooth": smooth}
    state.document(
        chosen
        | {
            "model": str(model),
            "profile": session.profile.name,
            "engine": session.engine.runtime,
            "device": session.engine.device,
        }
        | asdict(summary)
    )


def _say(job: "VideoJob", summary: "Summary") -> None:
    if summary.padded:
        w, h = summary.size
        state.warn(
            f"{job.target}: {summary.codec} takes even sides only; the last row or column is repeated to {w}x{h}"
        )
    sound = ", ".join(f"{track['codec']} {track['how']}" for track in summary.audio) or "no sound"
    w, h = summary.size
    timing = f"{summary.fps:g} fps", f"{summary.seconds:.2f} s"
    took = f"in {summary.took:.1f} s"
    state.result(job.target, f"{w}x{h}", f"{summary.frames} frames", *timing, f"{summary.codec}, {sound}", took)

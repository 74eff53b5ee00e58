"""`u2zoo video` where things go wrong: damage, refusals, interruptions, length."""
# ruff: noqa: F401, F811 - fixtures are imported, and found by their names

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import u2zoo
from support.videos import ALONE, av, film, hum, left_in, one_thread, session, source, view

from u2net_zoo.apps.video import VideoJob
from u2net_zoo.errors import OptionError, OutputError, VideoError

# Damage and requests that cannot be met


def test_a_truncated_video_is_an_error_and_leaves_nothing(session, tmp_path):
    for name in ("in.mp4", "in.mkv", "in.avi"):
        whole = film(tmp_path / name, range(0, 1400, 40), sound="libmp3lame").read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 45 // 100])
        before = left_in(tmp_path)
        with pytest.raises(VideoError, match=r"cut short|damaged"):
            VideoJob(tmp_path / name, tmp_path / "o.mp4", show="mask").run(session)
        assert left_in(tmp_path) == before


def test_a_file_without_pictures_says_what_it_holds(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        hum(out, stream, 4096)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError, match="holds no video stream, but audio"):
        VideoJob(tmp_path / "song.m4a", tmp_path / "o.mp4", show="mask")
    with pytest.raises(VideoError, match=re.escape("text.mp4: not a video")):
        VideoJob(tmp_path / "text.mp4", tmp_path / "o.mp4", show="mask")


def test_requests_that_cannot_be_met_are_refused_before_anything_runs(source, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for target, options, error, says in (
        ("o.mp4", {}, OptionError, "no place for transparency"),
        ("o.wmv", {}, OptionError, r"unknown suffix '.wmv'; videos are .mov, .mp4, .webm"),
        ("full", {}, OutputError, "folder with files in it"),
        ("file", {}, OutputError, "is a file, and a name without a suffix is a folder"),
        ("o.mov", {"smooth": 1.0}, OptionError, "allowed is 0"),
        ("o.mov", {"show": "replace"}, OptionError, "needs --background"),
        ("o.mov", {"background": "red"}, OptionError, "has no background"),
        ("o.mov", {"show": "replace", "background": "blur:-1"}, OptionError, "0 to 1000 pixels"),
        ("o.mov", {"show": "replace", "background": "no such colour"}, OptionError, "neither a file nor a colour"),
    ):
        with pytest.raises(error, match=says):
            VideoJob(source, tmp_path / target, **options)
    with pytest.raises(OutputError, match="would replace the video"):
        VideoJob(source, source.parent / "." / source.name, show="mask")
    assert left_in(tmp_path) == {"full", "file"}


# The command


def test_the_command_prints_one_json_object(tmp_path):
    film(tmp_path / "in.mp4", (0, 40))
    run = u2zoo(
        "video", "in.mp4", "-o", "o.webm", "--background", "white", "--smooth", "0.5", "--json", cwd=tmp_path, env=ALONE
    )
    assert (run.returncode, run.stderr) == (0, "")
    said = json.loads(run.stdout)
    assert (said["show"], said["frames"], said["fps"], said["seconds"]) == ("replace", 2, 25.0, 0.08)
    assert (said["codec"], said["model"], said["audio"][0]["how"]) == ("vp9", "u2net_nano", "encoded")


@pytest.mark.full
def test_ctrl_c_leaves_no_file(tmp_path):
    film(tmp_path / "in.mp4", range(0, 3200, 40), sound=None)
    command = [sys.executable, "-m", "u2net_zoo", "video", "in.mp4", "-o", "o.mp4", "--show", "mask"]
    run = subprocess.Popen(command, cwd=tmp_path, env=ALONE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".o.mp4.*/o.mp4")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(tmp_path.glob(".o.mp4.*/o.mp4"))  # it is at work
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=120)
    assert (run.returncode, "Traceback" in said) == (130, False)
    assert left_in(tmp_path) == {"in.mp4"}


MEMORY = """
import resource, sys
from pathlib import Path
from support.videos import quick_session
from u2net_zoo.apps.video import VideoJob
session, folder = quick_session(32), Path(sys.argv[1])
for name in ("short", "short", "long"):
    VideoJob(folder / f"{name}.mp4", folder / "o.mp4", show="replace", background="green").run(session)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.full
def test_memory_does_not_grow_with_the_length(tmp_path):
    """90 more frames of 320x240 would be 21 MB in RGB and 10 MB in YCbCr."""
    seen = [np.asarray(Image.fromarray(view(i)).resize((320, 240))) for i in range(10)]
    for name, rounds in (("short", 3), ("long", 12)):
        film(tmp_path / f"{name}.mp4", range(0, rounds * 400, 40), codec="mpeg4", views=seen * rounds)
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True, timeout=300,
        env=ALONE | {"PYTHONPATH": path},
    )  # fmt: skip
    _, short, long = map(int, run.stdout.split())
    assert long - short < 10, run.stdout

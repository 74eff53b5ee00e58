"""`u2zoo frames`: raw frames through a pipe, between two real FFmpegs."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import called, u2zoo
from support.ffmpeg import ffmpeg, lossless, raw
from support.photographs import photograph
from support.serving import shared_model

from u2net_zoo import Session
from u2net_zoo.apps import cutout, replace
from u2net_zoo.apps.video.ahead import AHEAD
from u2net_zoo.apps.video.looks import look
from u2net_zoo.apps.video.raw_frames import parse_frame_size, run_frames
from u2net_zoo.apps.video.smoothing import Smoother
from u2net_zoo.errors import OptionError

SIZE = (96, 64)
COUNT = 12
BYTES = SIZE[0] * SIZE[1] * 3


@pytest.fixture(scope="module")
def model(small, store) -> Path:
    return shared_model(small, store)


@pytest.fixture(scope="module")
def film() -> list[Image.Image]:
    """A camera that moves over a photograph: every frame is another."""
    whole = photograph("astronaut.png", 160)
    return [whole.crop((2 * n, n, 2 * n + SIZE[0], n + SIZE[1])) for n in range(COUNT)]


@pytest.fixture(scope="module")
def stream(film) -> bytes:
    return b"".join(frame.tobytes() for frame in film)


@pytest.fixture(scope="module")
def cut(film, model) -> list[Image.Image]:
    session = Session(model)
    return [cutout(frame, session.mask(frame)) for frame in film]


def frames(stream: bytes, model: Path, *options: str, size: str = "96x64") -> subprocess.CompletedProcess:
    return u2zoo("frames", "--size", size, "--model", model, *options, input=stream, text=False)


def test_between_two_ffmpegs_every_frame_arrives_in_its_place(stream, cut, model, tmp_path):
    program = [ffmpeg(), "-v", "error", "-y"]
    video = tmp_path / "in.mkv"
    made = subprocess.run([*program, *raw(SIZE, "rgb24"), "-i", "-", *lossless(video)], input=stream, timeout=60)
    assert made.returncode == 0
    reading = [*program, "-i", str(video), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    masking = [sys.executable, "-m", "u2net_zoo", "frames", "--size", "96x64", "--model", str(model)]
    writing = [*program, *raw(SIZE, "rgba"), "-framerate", "25", "-i", "-", *lossless(tmp_path / "out.mkv")]
    first = subprocess.Popen(reading, stdout=subprocess.PIPE)
    second = subprocess.Popen(masking, stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    third = subprocess.Popen(writing, stdin=second.stdout)
    first.stdout.close()
    second.stdout.close()
    assert [process.wait(timeout=120) for process in (first, second, third)] == [0, 0, 0], second.stderr.read()
    assert second.stderr.read().startswith(b"12 frames  96x64  rgba  ")
    second.stderr.close()
    back = [*program, "-i", str(tmp_path / "out.mkv"), "-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    done = subprocess.run(back, capture_output=True, timeout=60)
    assert done.stdout == b"".join(picture.tobytes() for picture in cut)


@pytest.mark.parametrize(("options", "mode"), [(["--show", "mask"], "L"), (["--background", "white"], "RGB")])
def test_masks_are_gray_and_replaced_backgrounds_rgb24(stream, film, model, options, mode):
    session = Session(model)
    draw = {"L": lambda image, mask: mask, "RGB": lambda image, mask: replace(image, mask, background="white")}[mode]
    done = frames(stream[: 2 * BYTES], model, *options)
    assert done.stdout == b"".join(draw(frame, session.mask(frame)).tobytes() for frame in film[:2])


def test_stdout_holds_frames_and_nothing_else(stream, model):
    done = frames(stream[: 3 * BYTES], model, "--json")
    assert (done.returncode, len(done.stdout)) == (0, 3 * SIZE[0] * SIZE[1] * 4)
    told = json.loads(done.stderr)
    assert (told["frames"], told["size"], told["pixels"]) == (3, [96, 64], "rgba")


def test_a_last_frame_that_is_not_whole_is_an_error_and_those_before_it_are_there(stream, cut, model):
    done = frames(stream[: 2 * BYTES + 100], model)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        "error: standard input: frame 3 has 100 of 18432 bytes, 96x64 in rgb24; the stream was cut short, or has"
    )
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b"".join(picture.tobytes() for picture in cut[:2])


def test_no_frame_at_all_is_an_error(model):
    done = frames(b"", model)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not one frame came; pipe rgb24 frames in" in done.stderr


def test_whoever_stops_taking_frames_ends_it_in_one_line(stream, model):
    command = [sys.executable, "-m", "u2net_zoo", "frames", "--size", "96x64", "--model", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.stdin.write(stream[: 3 * BYTES])  # less than a pipe holds
        process.stdin.close()
        assert process.wait(timeout=120) == 2
        assert process.stderr.read() == b"error: standard output: whoever took the frames has gone\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_not_said_of_the_reader(stream, model):
    with open("/dev/full", "wb") as target:
        command = [sys.executable, "-m", "u2net_zoo", "frames", "--size", "96x64", "--model", str(model)]
        done = subprocess.run(command, input=stream[:BYTES], stdout=target, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 2
    assert done.stderr == b"error: standard output: No space left on device; send the frames elsewhere\n"


class Counted(io.BytesIO):
    """Says how many frames were read; `written` tells how many more than were written."""

    read_frames = most = 0

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self.read_frames += len(data) == BYTES
        return data


def test_memory_is_that_of_a_few_frames(stream, model):
    """No frame is read before it is nearly its turn: two in the model, one beside them, one that is taken up."""
    source, target, ahead = Counted(stream * 5), io.BytesIO(), []
    session = Session(model)
    run_frames(source, target, SIZE, session, look("mask"), Smoother(0), lambda n: ahead.append(source.read_frames - n))
    assert len(ahead) == 5 * COUNT
    assert max(ahead) <= 2 + AHEAD


def test_smoothing_is_that_of_videos(film, model):
    session, smoother = Session(model), Smoother(0.5)
    wanted = [np.asarray(smoother(frame, session.mask(frame))) for frame in film]
    target = io.BytesIO()
    source = io.BytesIO(b"".join(frame.tobytes() for frame in film))
    run_frames(source, target, SIZE, session, look("mask"), Smoother(0.5))
    assert target.getvalue() == b"".join(mask.tobytes() for mask in wanted)


@pytest.mark.parametrize("size", ["96", "96x", "0x64", "96x64x3", "-1x4", "96×64", "1e3x5"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(OptionError, match="allowed is WIDTHxHEIGHT"):
        parse_frame_size(size)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "999999x999999"], "too many pixels"),
        (["--size", "96x64", "--show", "masks"], "did you mean 'mask'"),
        (["--size", "96x64", "--show", "replace"], "needs --background"),
        (["--size", "96x64", "--smooth", "1"], "allowed is 0 (off) up to, but not, 1"),
        (["--size", "96x64", "--model", "nothing.onnx"], "nothing.onnx: no such file"),
    ],
)
def test_what_it_cannot_do_is_said_before_a_frame_is_read(options, words):
    done = called("frames", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1

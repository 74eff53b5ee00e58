"""What a library prints when it loads stands in nobody's JSON and in nobody's picture."""

import io
import json
import os
import subprocess
import sys

import pytest
from PIL import Image
from support.commands import u2zoo
from support.data import NANO, ROOT
from support.lasting import full_for

BUFFERED = {
    key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"
}  # it unbuffers C's streams too
PRINTS = """
import ctypes, os
from u2net_zoo.streams import flush_c_streams, silent_output
puts = ctypes.CDLL(None).puts
with {block}:
    puts(b"of a library")
os.write(1, b"ours")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="asks the C library by a handle that Windows lacks")
@pytest.mark.parametrize(("block", "said"), [("silent_output()", "ours"), ("open(os.devnull)", "oursof a library\n")])
def test_what_c_prints_late_does_not_reach_the_stream(block, said):
    """It is held until the end of the program where standard output is a pipe."""
    command = [sys.executable, "-c", PRINTS.format(block=block)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=BUFFERED)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


@pytest.mark.parametrize("runtime", full_for(["mnn", "onnxruntime"], "onnxruntime"))
def test_a_runtime_adds_nothing_to_json_nor_to_a_picture(runtime, cat, tmp_path):
    cat.save(tmp_path / "p.png")
    common = ("--model", NANO, "--runtime", runtime)
    done = u2zoo("mask", tmp_path / "p.png", "-o", tmp_path / "m.png", *common, "--json", env=BUFFERED)
    assert json.loads(done.stdout)["engine"]["runtime"] == runtime
    command = [sys.executable, "-m", "u2net_zoo", "mask", tmp_path / "p.png", "-o", "-", *map(str, common)]
    picture = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=BUFFERED).stdout
    assert picture.endswith(b"IEND\xaeB`\x82")
    assert Image.open(io.BytesIO(picture)).size == cat.size

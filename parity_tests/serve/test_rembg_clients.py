"""`/api/remove`: what clients of rembg's server send, and the pixels that rembg answers.

The goldens are the answers of rembg 2.0.86's own server; see `support.rembg_cases`. Nothing of rembg is needed here.
"""

import io
import json
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from support.commands import called
from support.data import NANO
from support.rembg_cases import (
    CASES, MODEL, NANO_CASE, Case, ask, digest, formula, goldens, photograph_bytes, samples, seen,
)  # fmt: skip
from support.serving import png_of_zeros, served

from u2net_zoo import Session

RECORDED = goldens()["answers"]
LIMITS = ("--timeout", "240", "--max-bytes", "2000000", "--max-pixels", "1000000")
CAT = Case("cat")


@pytest.fixture(scope="module")
def server(store):
    model = store.once("a formula for rembg", lambda folder: formula(folder / "formula.onnx"))
    with served(model, "--input", "normalised", *LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def nano_server():
    with served(NANO, "--runtime", "torch", "--profile", "rembg") as running:
        yield running


def recorded(case: Case | str) -> np.ndarray:
    """The samples of rembg's answer, (n, 4)."""
    pixels = bytes.fromhex(RECORDED[case if isinstance(case, str) else case.name]["samples"])
    return np.frombuffer(pixels, np.uint8).reshape(-1, 4)


@pytest.mark.parametrize("case", [case for case in CASES if not case.estimated], ids=lambda case: case.name)
def test_every_pixel_is_rembgs(server, case):
    picture = ask(server.base, case)
    assert list(picture.size) == RECORDED[case.name]["size"]
    assert digest(picture) == RECORDED[case.name]["sha256"]


@pytest.mark.parametrize("case", [case for case in CASES if case.estimated], ids=lambda case: case.name)
def test_where_colours_and_alpha_are_estimated_they_are_rembgs(server, case):
    """An iteration in floating point: on the processor that recorded it every pixel was equal (2026-11-26)."""
    found = samples(ask(server.base, case)).astype(int)
    assert np.abs(found - recorded(case)).max() <= 1


def test_a_real_networks_mask_is_rembgs(nano_server):
    """Two runtimes: a value at a whole number may fall to either side."""
    found = samples(ask(nano_server.base, NANO_CASE)).astype(int)
    assert np.abs(found - recorded("u2net_nano")).max() <= 1
    assert (found != recorded("u2net_nano")).mean() < 0.02

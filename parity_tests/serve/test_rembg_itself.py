"""Beside rembg 2.0.86 itself, in an environment of its own: the same ONNX file in both, every pixel of every answer."""

import io
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.rembg_cases import CASES, COLOUR, Case, ask, formula, photograph_bytes, rembg_server, seen
from support.serving import served

from u2net_zoo import Session
from u2net_zoo.rembg import remove
from u2net_zoo.rembg_models import MODELS, fed_as_rembg

REMBG = ("rembg[cpu,cli]==2.0.86", "pillow==13.0.0", "numpy==2.3.4")  # rembg's own pins are older; it runs with these
INSTALLED = "U2ZOO_TEST_REMBG"  # names the command of a rembg that is there already
NAMES = [name for name, profile in MODELS.items() if profile]
FEW = [Case("coffee"), Case("coffee", {"om": "true"}), Case("coffee", {"om": "true", "ppm": "true"})]
FEW += [Case("cat", {"a": "true"}, COLOUR), Case("cat", {"dc": "true"}), Case("L", {"om": "true"}), Case("RGBA")]

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="a venv has other folders there"),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> Path:
    """rembg's, installed for this run unless one is named."""
    if named := os.environ.get(INSTALLED):
        return Path(named)
    folder = tmp_path_factory.mktemp("rembg")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-q"]
    for how in ([REMBG[0]], ["--no-deps", *REMBG[1:]]):
        done = subprocess.run([*pip, *how], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs a package index to install {how}: {done.stderr.splitlines()[-1]}")
    return folder / "bin" / "rembg"


@pytest.fixture(scope="module")
def models(nano_made, tmp_path_factory) -> Path:
    """rembg's folder of models: a formula under each of its names, and the bundled network beside them."""
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        formula(folder / f"{name}.onnx")
    shutil.copy(nano_made.one("onnx").path, folder / "nano.onnx")
    return folder


@pytest.fixture(scope="module")
def rembg(command, models, tmp_path_factory):
    with rembg_server(command, models, tmp_path_factory.mktemp("log") / "rembg.txt") as base:
        yield base


def told(case: Case, model: Path) -> dict[str, str]:
    """rembg hears of custom weights in `extras`, whose other words stay."""
    return {"extras": json.dumps({**json.loads(case.query.get("extras", "{}")), "model_path": str(model)})}


@pytest.fixture(scope="module")
def formula_server(models):
    with served(models / "u2netp.onnx", "--input", "normalised", "--timeout", "240") as running:
        yield running.base


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_pixel_is_its_own(rembg, formula_server, models, case):
    theirs = seen(ask(rembg, case, **told(case, models / "u2netp.onnx")))
    assert np.array_equal(seen(ask(formula_server, case)), theirs)


@pytest.mark.parametrize("case", FEW, ids=lambda case: case.name)
def test_of_a_real_network_too(rembg, nano_server, models, case):
    """Both in onnxruntime; where its two releases differ, a value next to a whole number may fall to either side.

    With one release of it every pixel is equal (2026-11-26).
    """
    theirs = seen(ask(rembg, case, **told(case, models / "nano.onnx"))).astype(int)
    apart = np.abs(seen(ask(nano_server, case)).astype(int) - theirs)
    assert (apart > 0).mean() < 1e-3
    assert np.percentile(apart, 99.99) <= 1


@pytest.fixture(scope="module")
def nano_server(models):
    with served(models / "nano.onnx", "--timeout", "240") as running:
        yield running.base


@pytest.mark.parametrize("name", NAMES)
def test_each_of_its_models_is_fed_as_it_feeds_them(rembg, models, name):
    case = Case("coffee", {"model": name, "om": "true"})
    theirs = seen(ask(rembg, case))
    session = fed_as_rembg(Session(models / f"{name}.onnx", takes="normalised"), name)
    ours = remove(photograph_bytes("coffee"), session=session, only_mask=True)
    assert np.array_equal(seen(Image.open(io.BytesIO(ours))), theirs)


def test_the_real_u2netp_too(rembg, real_made, models):
    model = shutil.copy(real_made.one("onnx").path, models / "real.onnx")
    with served(model) as running:
        for case in FEW[:3]:
            theirs = seen(ask(rembg, case, **told(case, model))).astype(int)
            apart = np.abs(seen(ask(running.base, case)).astype(int) - theirs)
            assert (apart > 0).mean() < 1e-3, case.name

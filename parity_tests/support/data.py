"""Where the tests find what they are fed: this clone, and a folder of real weights and photographs if there is one."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "parity_tests"
NANO = ROOT / "weights" / "u2net_nano.safetensors"
SEARCHED = os.pathsep.join(map(str, (ROOT, TESTS)))  # where a script of the tests finds this project and `support`
MORE = "U2ZOO_TEST_DATA"
DATA = Path(os.environ.get(MORE) or ROOT.parent / "shared" / "data")
LACKING = f"needs more data than a clone has ({MORE} names its folder)"


def needs(path: Path) -> Path:
    """`path` under `DATA`, or a skip."""
    if not path.exists():
        pytest.skip(LACKING)
    return path


def published(name: str) -> list[tuple[Path, Path]]:
    """(photograph, the authors' mask) pairs of `sod`."""
    masks = needs(DATA / "sod" / name)
    return [(photo, masks / f"{photo.stem}.png") for photo in sorted(needs(DATA / "sod" / "images").iterdir())]

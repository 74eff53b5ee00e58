"""What the tests share: real weights, goldens, hard weights, photographs. All of it is read from ../shared/data."""

import functools
import gc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import webserver
from cats import cat, mask, mixed  # noqa: F401 - fixtures
from filelock import FileLock
from PIL import Image
from training import eight  # noqa: F401 - a fixture

from converters import FORMATS, convert
from converters.conversion import formats_named
from converters.parity import farthest
from converters.torch_predictor import TorchPredictor
from u2net_zoo.arch import U2NET, U2NETP, Architecture, two_level
from u2net_zoo.checkpoint import Checkpoint

# Several workers test at once: each gets its share of the processors, or Torch's waiting threads take the others' time.
# Not in the process that starts them: they would inherit its share, which is all of the processors. What they inherit
# is that glibc asks for huge pages: half of the float64 reference's time goes into touching new small ones otherwise.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
if WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = SHARED / "data"
ALL = [fmt.name for fmt in formats_named("all")]  # web needs a network, and has its own tests
ARCHS = {"u2net": U2NET, "u2netp": U2NETP}

# A U²-Net of the same shape and of few channels: quick to convert, and nothing is special about its widths.
SMALL = two_level(
    "small",
    [("7", 4, 8), ("6", 4, 12), ("5", 4, 8), ("4", 4, 8), ("4F", 6, 8), ("4F", 4, 8)],
    [("4F", 4, 8), ("4", 4, 8), ("5", 4, 8), ("6", 4, 8), ("7", 4, 8)],
)


# Files that take longest, first: a worker that is left with one of them at the end makes all the others wait.
LONGEST = (
    "test_goldens", "test_masks", "test_train_keras", "test_third_party", "test_stock", "test_foreign_files", "test_cli"
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def needs(path: Path) -> Path:
    """`path`, or a skip that names it."""
    if not path.exists():
        pytest.skip(f"needs {path.relative_to(SHARED.parent)}")
    return path


def _hard_weights():
    spec = importlib.util.spec_from_file_location("hard_weights", needs(SHARED / "tools" / "hard_weights.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.hard_weights


def hard_checkpoint(arch: Architecture, seed: int = 1, gain: float = 1.0) -> Checkpoint:
    """Weights with live batch norm and outputs that spread over (0, 1)."""
    return Checkpoint.from_state(_hard_weights()(arch.state_shapes(), seed, gain))


class Golden:
    """Outputs of the authors' own code in float64, with the weights and inputs that they belong to."""

    def __init__(self, name: str):
        self.arch = ARCHS[name]
        self.file = np.load(needs(DATA / "goldens" / f"{name}_hard.npz"))
        self.checkpoint = hard_checkpoint(self.arch, int(self.file["seed"]), float(self.file["gain"]))

    def input(self, i: int) -> np.ndarray:
        rng = np.random.default_rng(int(self.file[f"input{i}_seed"]))
        return rng.standard_normal(tuple(self.file[f"input{i}_shape"])).astype(np.float32)

    def outputs(self, i: int) -> dict[str, np.ndarray]:
        names = [(j, self.arch.outputs[j]) for j in range(7)]
        return {name: self.file[f"d{j}_{i}"] for j, name in names if f"d{j}_{i}" in self.file}

    @functools.cache  # noqa: B019 - lives as long as the tests
    def noise(self, i: int) -> np.ndarray:
        return noise_floor(self.checkpoint, self.input(i), list(self.outputs(i).values()), self.file[f"noise_{i}"])


def noise_floor(checkpoint: Checkpoint, x: np.ndarray, exact: list[np.ndarray], recorded: np.ndarray) -> np.ndarray:
    """How far Torch's float32 strays from each output: as recorded, or on this processor where that is more.

    It depends on the kernels, and so on the processor and on the memory layout; see `Reference.noise`.
    """
    named = dict(zip(checkpoint.arch.outputs, exact, strict=False))
    layouts = (TorchPredictor(checkpoint), TorchPredictor(checkpoint, channels_last=True))
    return np.maximum(recorded, list(farthest([layout(x) for layout in layouts], named).values()))


@pytest.fixture(scope="session", params=["u2netp", "u2net"])
def golden(request):
    return Golden(request.param)


@pytest.fixture(scope="session")
def u2netp_golden():
    return Golden("u2netp")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    return needs(DATA / "weights" / "u2netp.pth")


@pytest.fixture(scope="session")
def real_artifacts(real_weights, tmp_path_factory) -> dict[str, Path]:
    """Format -> artifact of the real u2netp, each with its format's defaults; converted once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if WORKERS else base) / "real"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            convert(real_weights, "all", f"{folder}.partial")
            Path(f"{folder}.partial").rename(folder)
    return {name: FORMATS[name].target(folder, real_weights.stem) for name in ALL}


@pytest.fixture(scope="module", autouse=True)
def _frameworks_stay_where_they_are():
    """What frameworks hold for good is not searched again by every later collection: each conversion asks for some."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def small() -> Checkpoint:
    return hard_checkpoint(SMALL)


@pytest.fixture(scope="session")
def small_file(small, tmp_path_factory) -> Path:
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    save_file(small.full_state(), path)
    return path


def published(name: str) -> list[tuple[Path, Path]]:
    """(photograph, the authors' mask) pairs of `sod`."""
    masks = needs(DATA / "sod" / name)
    return [(photo, masks / f"{photo.stem}.png") for photo in sorted(needs(DATA / "sod" / "images").iterdir())]


def mask_agreement(pairs) -> tuple[float, float]:
    """Mean IoU at 0.5 and mean absolute error of 255 over (mask, mask) pairs of images or paths."""
    ious, errors = [], []
    for a, b in pairs:
        a, b = (np.asarray((Image.open(m) if isinstance(m, Path) else m).convert("L"), np.int16) for m in (a, b))
        x, y = a > 127, b > 127
        ious.append((x & y).sum() / max((x | y).sum(), 1))
        errors.append(np.abs(a - b).mean())
    return float(np.mean(ious)), float(np.mean(errors))


def u2zoo(*arguments, **kwargs) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "u2net_zoo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


@pytest.fixture
def server(tmp_path):
    """A web server that misbehaves on request; it has the file `w.bin`."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "w.bin").write_bytes(webserver.BODY)
    served = webserver.Server(tmp_path / "www").start()
    yield served
    served.close()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache for downloads, which are given up after half a second of silence."""
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("U2ZOO_TIMEOUT", "0.5")
    monkeypatch.delenv("U2ZOO_OFFLINE", raising=False)
    return tmp_path / "home"


def left(home: Path) -> list[str]:
    """What the cache holds, without the locks."""
    return sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and p.name != ".lock")


# What a machine may lack where everything else is installed: hardware, rights, other people's servers.
BEYOND = ("CUDA", "needs the right to", "needs a package index", "needs onnxruntime-web")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI everything that can be installed is: a skip for want of it is a failure there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])}
    missing = sorted(reason for reason in reasons if not any(part in reason for part in BEYOND))
    if missing:
        reporter.write_line(f"error: skipped on CI: {'; '.join(missing)}", red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

"""What all tests share: networks, artifacts that are made once, a cache for downloads, and what skips mean."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from support import webserver
from support.artifacts import Made, Store
from support.class_maps import street, taught_classes  # noqa: F401 - fixtures
from support.data import DATA, NANO, needs
from support.goldens import Golden
from support.hub_server import Hub
from support.networks import SMALL, hard_checkpoint
from support.photographs import cat, mask, mixed  # noqa: F401 - fixtures
from support.publishing import (  # noqa: F401 - fixtures
    folder_to_publish,
    photograph_file,
    publish,
    published,
    send_to_hub,
)
from support.reporting import (  # noqa: F401 - hooks
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
from support.training import eight, published_eight, taught  # noqa: F401 - fixtures

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.dilation import BLOCKS, kinds_of

# Several workers test at once: each gets its share of the processors, or Torch's waiting threads take the others' time.
# Not in the process that starts them: they would inherit its share, which is all of the processors. What they inherit
# is that glibc asks for huge pages: half of the float64 reference's time goes into touching new small ones otherwise.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
if WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

# What is found out about files is kept for this run alone: workers inherit the folder. Not for people's own cache.
if "U2ZOO_HOME" not in os.environ:
    RECORDS = tempfile.TemporaryDirectory(prefix="u2zoo-tests-")
    os.environ["U2ZOO_HOME"] = RECORDS.name

# Nobody is logged in at the Hugging Face Hub, whoever runs the tests.
os.environ["HF_HOME"] = str(Path(os.environ["U2ZOO_HOME"]) / "huggingface")

# What tests import directly reports nothing either; that the project's own imports do not is a test of its own.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Weights run in Torch where nothing else is said, and no test races engines but those about that (test_engines.py).
os.environ["U2ZOO_RUNTIME"] = "torch"

os.environ.pop("COLUMNS", None)  # workers are told a width, and nothing here is a terminal …
os.unsetenv("COLUMNS")  # … and readline, which pytest loads, tells it to child processes alone

# A shell lets what it starts in the background ignore Ctrl-C, and so do their children: those that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# For scripts/mutants.py, where it is enough that an example fails: looking for the simplest one takes minutes.
hypothesis_settings.register_profile("first-failure", phases=(Phase.explicit, Phase.reuse, Phase.generate))


@pytest.fixture(scope="session", params=["u2netp", "u2net"])
def golden(request) -> Golden:
    return Golden(request.param)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    base = tmp_path_factory.getbasetemp()
    return Store((base.parent if WORKERS else base) / "store")


@pytest.fixture(scope="session")
def small() -> Checkpoint:
    return hard_checkpoint(SMALL)


@pytest.fixture(scope="session")
def small_file(small, store) -> Path:
    def write(folder: Path) -> Path:
        from safetensors.numpy import save_file

        save_file(small.full_state(), folder / "small.safetensors", metadata={BLOCKS: kinds_of(small.arch)})
        return folder / "small.safetensors"

    return store.once("small.safetensors", write)


@pytest.fixture(scope="session")
def made(store, small) -> Made:
    """`made(options)`: artifacts of the small network by format."""
    return Made(store, "small", small)


@pytest.fixture(scope="session")
def nano_made(store) -> Made:
    """`nano_made(options)`: artifacts of the bundled network by format."""
    return Made(store, "u2net_nano", NANO)


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The authors' u2netp, which a clone does not have."""
    return needs(DATA / "weights" / "u2netp.pth")


@pytest.fixture(scope="session")
def real_made(store, real_weights) -> Made:
    """`real_made(options)`: artifacts of the authors' u2netp by format."""
    return Made(store, "u2netp", real_weights)


@pytest.fixture(scope="module", autouse=True)
def _frameworks_stay_where_they_are():
    """What frameworks hold for good is not searched again by every later collection: each conversion asks for some."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def server(tmp_path):
    """A web server that misbehaves on request; it has the file `w.bin`."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "w.bin").write_bytes(webserver.BODY)
    served = webserver.Server(tmp_path / "www").start()
    yield served
    served.close()


@pytest.fixture
def hub(monkeypatch):
    """The hub that HF_ENDPOINT names, and nobody logged in."""
    pytest.importorskip("huggingface_hub")
    served = Hub().start()
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield served
    served.close()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache for downloads, which are given up after half a second of silence."""
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("U2ZOO_TIMEOUT", "0.5")
    monkeypatch.delenv("U2ZOO_OFFLINE", raising=False)
    return tmp_path / "home"

"""Weights run in the fastest engine that is right: tried once, remembered, and never a reason for a wrong mask."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.commands import called
from support.data import NANO
from support.networks import TINY, hard_checkpoint

from converters.engines import Weights, candidate, kept, open_engine
from converters.engines.surroundings import Surroundings
from converters.torch_predictor import TorchPredictor
from u2net_zoo import Session
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES

SIZE = (64, 64)
TWO = [candidate("onnx"), candidate("openvino")]  # Torch takes seconds to start in each trial


def opened(checkpoint, among=TWO, read=None):
    weights = Weights(checkpoint.digest, read or (lambda: checkpoint))
    return open_engine(weights, PROFILES["paper"], SIZE, among=among)


def never():
    raise AssertionError("the weights were read again")


@pytest.fixture(scope="module")
def tiny():
    return hard_checkpoint(TINY)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def right(tiny, x):
    return TorchPredictor(tiny)(x)["mask"]


@pytest.fixture(scope="module")
def measured(tiny, tmp_path_factory):
    """A cache in which an engine was chosen for the tiny network, and what was said."""
    home = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("U2ZOO_HOME", str(home))
        patch.delenv("U2ZOO_RUNTIME")
        return home, opened(tiny)[1]


@pytest.fixture
def home(measured, tmp_path, monkeypatch):
    """A copy of that cache."""
    shutil.copytree(measured[0], tmp_path / "home")
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("U2ZOO_RUNTIME")
    return tmp_path / "home" / "engines"


def test_the_fastest_is_chosen_and_said_in_one_line(measured):
    choice = measured[1]
    assert set(choice.seconds) == {"onnxruntime", "openvino"}
    assert (choice.runtime, choice.seconds[choice.runtime]) == min(choice.seconds.items(), key=lambda pair: pair[1])
    assert choice.new
    assert not choice.struck
    assert re.fullmatch(r"engine: (\w+), \d+ ms a photograph \((?!\1)\w+ \d+\)", str(choice))


def test_the_second_start_tries_and_converts_nothing(home, measured, tiny, x, right):
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    predictor, choice = opened(tiny, read=never)
    assert (choice.name, dict(choice.seconds), choice.new) == (measured[1].name, measured[1].seconds, False)
    assert np.abs(predictor(x)["mask"] - right).max() < 1e-4
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("key", ["rows", "size", "runtimes"])
def test_a_measurement_with_something_else_in_it_is_not_shown(home, measured, key):
    (record,) = (home / "measured").glob("*.json")
    found = json.loads(record.read_text())
    assert len(kept.measurements()) == 1
    record.write_text(json.dumps({**found, key: "abc"}))
    assert kept.measurements() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"engine": "onnx"}', '{"engine": "magic", "rows": []}', "\xff"])
@pytest.mark.parametrize("kind", ["chosen", "measured"])
def test_a_damaged_record_costs_time_alone(home, tiny, x, right, kind, text):
    among = TWO if kind == "measured" else TWO[:1]  # of one nothing has to be tried
    opened(tiny, among)
    for record in (home / kind).glob("*.json"):
        record.write_text(text, encoding="latin-1")
    assert np.abs(opened(tiny, among)[0](x)["mask"] - right).max() < 1e-4


@pytest.mark.parametrize("damage", ["a byte", "cut", "gone", "a folder"])
def test_a_damaged_network_is_written_anew_without_a_trial(home, tiny, x, right, damage):
    (file,) = (path for path in (home / "networks").rglob("*") if path.suffix in (".onnx", ".bin"))
    content = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage != "gone":
        half = len(content) // 2
        file.write_bytes(
            content[:half] + (b"" if damage == "cut" else bytes([content[half] ^ 0x40]) + content[half + 1 :])
        )
    predictor, choice = opened(tiny)
    assert not choice.new
    assert np.abs(predictor(x)["mask"] - right).max() < 1e-4
    assert np.abs(opened(tiny, read=never)[0](x)["mask"] - right).max() < 1e-4  # whole again


def test_a_cache_that_cannot_be_written_is_said_and_tries_nothing(home, tiny, x, right, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path / "file"))
    predictor, choice = opened(tiny)
    assert np.abs(predictor(x)["mask"] - right).max() < 1e-4
    assert not choice.seconds
    assert (
        str(choice) == f"engine: onnxruntime; nothing was tried, as {tmp_path / 'file' / 'engines'} cannot be written"
    )


def test_networks_that_do_not_fit_go_by_their_last_use(home, tiny, monkeypatch):
    kept.forget()
    opened(tiny, TWO[:1])
    (first,) = (home / "networks").iterdir()
    os.utime(first, (1, 1))
    opened(tiny, TWO[1:])
    assert len(list((home / "networks").iterdir())) == 2
    opened(tiny, TWO[:1])  # used now
    assert first.stat().st_mtime > 1
    monkeypatch.setattr(kept, "LARGEST", 1)
    opened(hard_checkpoint(TINY, seed=2), TWO[:1])
    (newest,) = (home / "networks").iterdir()
    assert newest != first


def test_other_weights_of_the_architecture_are_judged_and_not_timed(home, measured, x):
    other = hard_checkpoint(TINY, seed=3)
    predictor, choice = opened(other)
    assert (dict(choice.seconds), choice.new) == (measured[1].seconds, False)
    assert np.abs(predictor(x)["mask"] - TorchPredictor(other)(x)["mask"]).max() < 1e-4


def test_of_one_engine_nothing_is_tried(home, tiny, x, right):
    kept.forget()
    predictor, choice = opened(tiny, TWO[:1])
    assert str(choice) == "engine: onnxruntime"
    assert not (home / "measured").exists()
    assert np.abs(predictor(x)["mask"] - right).max() < 1e-4


def test_whatever_a_speed_depends_on_measures_it_anew(monkeypatch):
    keys = {Surroundings.here(TWO, SIZE, "cpu").key("network")}
    keys |= {
        Surroundings.here(TWO, (64, 96), "cpu").key("network"),
        Surroundings.here(TWO[:1], SIZE, "cpu").key("network"),
    }
    keys |= {Surroundings.here(TWO, SIZE, "cuda").key("network"), Surroundings.here(TWO, SIZE, "cpu").key("other")}
    for name, value in (("processor_name", "another"), ("processors", 77), ("_version", "9")):
        with monkeypatch.context() as patch:
            patch.setattr(f"converters.engines.surroundings.{name}", lambda *_, value=value: value)
            keys.add(Surroundings.here(TWO, SIZE, "cpu").key("network"))
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    keys.add(Surroundings.here(TWO, SIZE, "cpu").key("network"))
    assert len(keys) == 9


def test_an_engine_can_be_named_once_for_all(home, tiny, monkeypatch):
    monkeypatch.setenv("U2ZOO_RUNTIME", "openvino")
    assert str(opened(tiny)[1]) == "engine: openvino"
    monkeypatch.setenv("U2ZOO_RUNTIME", "opnvino")
    with pytest.raises(
        OptionError, match="U2ZOO_RUNTIME='opnvino': no runtime that is installed for cpu; here are: auto"
    ):
        opened(tiny)


def test_engines_shows_what_was_measured_and_forgets_it(home, measured):
    rows = json.loads(called("engines", "--json").stdout)["measured"]
    assert [(row["architecture"], row["size"], row["device"]) for row in rows] == [("u2net-custom", [64, 64], "cpu")]
    assert {row["engine"]: row["seconds"] for row in rows[0]["rows"]}.keys() == {"onnx", "openvino"}
    shown = called("engines").stdout
    assert re.search(r"u2net-custom +64x64 +cpu ", shown)
    assert measured[1].runtime in shown
    assert called("engines", "--forget").stdout.startswith("engines  removed")
    assert not home.exists()
    assert "nothing was measured yet" in called("engines").stdout


RUN = """
import sys
from u2net_zoo.cli.commands import main
try:
    main()
finally:
    print(*sys.modules)
"""


def test_a_start_loads_the_chosen_engine_alone(home, tmp_path):
    picture = tmp_path / "p.png"
    Image.new("RGB", (40, 30), "red").save(picture)
    command = [sys.executable, "-c", RUN, "mask", picture, "-o", tmp_path / "m.png", "--json"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "U2ZOO_RUNTIME": "onnx"})
    loaded = set(done.stdout.split())
    assert (done.returncode, "onnxruntime" in loaded) == (0, True)
    assert loaded & {"torch", "openvino", "onnx", "keras", "tensorflow", "ncnn", "MNN", "skimage", "scipy"} == set()
    formats = {name.removeprefix("converters.formats.") for name in loaded if re.match(r"converters\S+_format$", name)}
    assert formats == {"onnx_format", "openvino_format", "mnn_format"}  # those whose runtimes may be chosen


@pytest.mark.full
def test_the_default_tries_all_and_masks_as_torch_does(tmp_path, monkeypatch, cat):
    monkeypatch.setenv("U2ZOO_HOME", str(tmp_path))
    monkeypatch.delenv("U2ZOO_RUNTIME")
    session, torch = Session(NANO), Session(NANO, runtime="torch")
    assert {"onnxruntime", "openvino", "torch"} <= {*session.engine.seconds, *session.engine.struck}
    assert session.engine.runtime in session.engine.seconds
    apart = np.abs(np.asarray(session.mask(cat), int) - np.asarray(torch.mask(cat), int))
    assert (apart <= 1).mean() >= 0.999


@pytest.mark.full
def test_two_processes_at_once_try_once(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "U2ZOO_RUNTIME"}
    environment["U2ZOO_HOME"] = str(tmp_path / "home")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "p.png")
    command = [sys.executable, "-m", "u2net_zoo", "mask", "p.png", "--model", str(NANO)]
    running = [
        subprocess.Popen([*command, "-o", f"{n}.png"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(bool(text) for text in said) == [False, True]
    assert len(list((tmp_path / "home" / "engines" / "measured").iterdir())) == 1
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


@pytest.mark.full
def test_a_cache_that_is_full_costs_time_alone(tmp_path, cat):
    """A real file system of 128 kB, in which records fit and networks do not: nothing is tried twice."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    (tmp_path / "home").mkdir()
    cat.save(tmp_path / "p.png")
    mask = shlex.join([sys.executable, "-m", "u2net_zoo", "mask", "p.png", "--model", str(NANO), "-o"])
    script = (
        f"mount -t tmpfs -o size=128k none home && {mask} 0.png && echo second >&2 && {mask} 1.png && ls home/engines/*"
    )
    environment = {**os.environ, "U2ZOO_HOME": str(tmp_path / "home"), "U2ZOO_RUNTIME": "auto"}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"engine: .*\nsecond\n", done.stderr)
    torch = np.asarray(Session(NANO, runtime="torch").mask(cat), int)
    for name in ("0.png", "1.png"):
        assert (np.abs(np.asarray(Image.open(tmp_path / name), int) - torch) <= 1).mean() >= 0.999

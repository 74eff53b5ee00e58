"""Artifacts in a project that has never heard of this one: stock loaders, torch.hub, and rembg."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.agreement import mask_agreement
from support.artifacts import nano
from support.data import DATA, NANO, ROOT, needs
from support.networks import hard_checkpoint
from support.photographs import PHOTOGRAPHS, photograph

from u2net_zoo import Session
from u2net_zoo.arch import U2NETP
from u2net_zoo.preprocessing import PROFILES, read_image

REMBG = "rembg[cpu]==2.0.86"
FORMATS_LOADED = ("keras", "h5", "savedmodel", "onnx", "tflite")
# By the process that runs them; TensorFlow is started once.
LOADERS = {
    "tensorflow": {
        "tf_keras.h5": "import tf_keras; m = tf_keras.models.load_model(paths['h5']); y = m(x)",
        "saved_model": "import tensorflow as tf; m = tf.saved_model.load(paths['savedmodel']); y = m(x)['mask']",
        "signature": (
            "import tensorflow as tf; m = tf.saved_model.load(paths['savedmodel']);"
            "y = m.signatures['serving_default'](image=tf.constant(x))['mask']"
        ),
        "tf.lite": (
            "import tensorflow as tf; m = tf.lite.Interpreter(paths['tflite']);"
            "y = m.get_signature_runner()(image=x)['mask']"
        ),
        "keras.h5": "import keras; m = keras.models.load_model(paths['h5']); y = m(x)",
        "keras.keras": "import keras; m = keras.models.load_model(paths['keras']); y = m.predict(x, verbose=0)",
    },
    "onnxruntime": {
        "onnxruntime": (
            "import onnxruntime as o; m = o.InferenceSession(paths['onnx']);"
            "y = m.run(['mask'], {'image': x.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)"
        ),
    },
}
OF_ONE = [(process, loader) for process, loaders in LOADERS.items() for loader in loaders]
# Runs in the stranger: each loader answers for itself, into NAME.npy or NAME.txt, in a namespace of its own.
SCRIPT = """
import json, sys, traceback
import numpy as np
paths, loaders = json.loads(sys.argv[1]), json.loads(sys.argv[2])
x = np.load("x.npy")
for name, code in loaders.items():
    try:
        found = {"np": np, "paths": paths, "x": x}
        exec(code, found)
        np.save(name + ".npy", np.asarray(found["y"]))
    except Exception:
        open(name + ".txt", "w").write(traceback.format_exc())
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Path:
    """A Python that has this environment's packages, but not this project."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # its own .pth files are not followed
    python = folder / "bin" / "python"
    names = ("u2net_zoo", "converters", "keras")
    known = f"import importlib.util as u; print([bool(getattr(u.find_spec(m), 'origin', None)) for m in {names}])"
    done = subprocess.run([python, "-c", known], cwd=folder, capture_output=True, text=True)
    assert done.stdout == "[False, False, True]\n"
    return python


def loaded(stranger: Path, made, x: np.ndarray, folder: Path) -> None:
    """Runs every loader on x (1, 3, H, W), in `folder`."""
    np.save(folder / "x.npy", x.transpose(0, 2, 3, 1))
    paths = json.dumps({name: str(made.one(name).path) for name in FORMATS_LOADED})
    for loaders in LOADERS.values():
        command = [stranger, "-c", SCRIPT, paths, json.dumps(loaders)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


def alike(folder: Path, loader: str, expected: np.ndarray, atol: float) -> None:
    assert (folder / f"{loader}.npy").exists(), (folder / f"{loader}.txt").read_text()[-2000:]
    found = np.load(folder / f"{loader}.npy").transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def cat_tensor() -> np.ndarray:
    return PROFILES["paper"].tensor(photograph("chelsea.png"), (320, 320))


@pytest.fixture(scope="module")
def strangers_answers(stranger, nano_made, cat_tensor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    loaded(stranger, nano_made, cat_tensor, folder)
    return folder


@pytest.fixture(scope="module")
def expected(cat_tensor) -> np.ndarray:
    return Session(NANO).predictor(cat_tensor)["mask"]


@pytest.mark.parametrize(("process", "loader"), OF_ONE)
def test_a_stock_loader_gives_the_same_mask(process, loader, strangers_answers, expected):
    alike(strangers_answers, loader, expected, atol=1e-5)  # 1.6e-6 at most was measured on 2026-11-26


@pytest.fixture(scope="module")
def girl() -> np.ndarray:
    photo = read_image(needs(DATA / "sod" / "images" / "girl.png"))
    return PROFILES["paper"].tensor(photo, (320, 320))


@pytest.fixture(scope="module")
def answers_of_u2netp(stranger, real_made, girl, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    loaded(stranger, real_made, girl, folder)
    return folder


@pytest.mark.full
@pytest.mark.parametrize(("process", "loader"), OF_ONE)
def test_a_stock_loader_gives_the_mask_of_u2netp(process, loader, answers_of_u2netp, real_weights, girl):
    # Two float32 runs of these weights may each stray 1e-4 from float64.
    alike(answers_of_u2netp, loader, Session(real_weights).predictor(girl)["mask"], atol=5e-4)


@pytest.mark.full
def test_rembg_takes_the_onnx_file(nano_made, tmp_path):
    """rembg in an environment of its own, with our file as its model: its mask is ours under its profile."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    installed = subprocess.run([python, "-m", "pip", "install", "-q", REMBG], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"needs a package index to install {REMBG}: {installed.stderr.splitlines()[-1]}")
    image = PHOTOGRAPHS / "astronaut.png"
    script = (
        "import sys; from PIL import Image; from rembg import new_session, remove;"
        "s = new_session('u2net_custom', model_path=sys.argv[1]);"
        "remove(Image.open(sys.argv[2]), session=s, only_mask=True).save(sys.argv[3])"
    )
    models = tmp_path / ".rembg"  # rembg takes models from its own folder only
    models.mkdir()
    model = shutil.copy(nano_made.one("onnx").path, models)
    done = subprocess.run(
        [python, "-c", script, model, image, tmp_path / "mask.png"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours = Session(nano_made.one("onnx").path, profile="rembg").mask(read_image(image))
    iou, mae = mask_agreement([(Image.open(tmp_path / "mask.png"), ours)])
    assert iou > 0.999
    assert mae < 0.5


def test_the_authors_class_would_take_our_file(nano_made):
    """The keys, shapes and types of the authors' module names, in a file that stock torch opens with weights_only."""
    import torch

    ours, wanted = torch.load(nano_made.one("pth").path, weights_only=True), nano()
    tracked = {key: torch.int64 if key.endswith("num_batches_tracked") else torch.float32 for key in ours}
    assert {key: tuple(value.shape) for key, value in ours.items()} == wanted.arch.state_shapes()
    assert {key: value.dtype for key, value in ours.items()} == tracked
    assert all(np.array_equal(ours[key].numpy(), value) for key, value in wanted.state.items())


@pytest.mark.full
def test_the_authors_class_would_take_our_u2netp(real_made, real_weights):
    """Same keys, shapes and types as the authors' own file."""
    import torch

    ours = torch.load(real_made.one("pth").path, weights_only=True)
    theirs = torch.load(real_weights, weights_only=True)
    assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {k: (v.shape, v.dtype) for k, v in theirs.items()}
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_torch_hub_loads_a_clone(tmp_path):
    import torch
    from safetensors.numpy import save_file

    weights = hard_checkpoint(U2NETP).full_state()
    save_file(weights, tmp_path / "mine.safetensors")
    model = torch.hub.load(str(ROOT), "u2netp", weights=str(tmp_path / "mine.safetensors"), source="local")
    found = model.state_dict()
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[key].numpy(), value) for key, value in weights.items())
    assert len(model(torch.zeros(1, 3, 32, 32))) == 7


def test_torch_hub_refuses_another_network():
    import torch

    with pytest.raises(ValueError, match="holds u2net_nano, not u2netp"):
        torch.hub.load(str(ROOT), "u2netp", weights=str(NANO), source="local")


def test_the_readme_imports_work():
    code = "from u2net_zoo import load_torch, load_keras, Session; from converters import convert, FORMATS"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

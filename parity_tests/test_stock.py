"""Artifacts in a project that has never heard of this one: stock loaders, and rembg."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, mask_agreement, needs
from PIL import Image

from u2net_zoo import Session
from u2net_zoo.preprocessing import PROFILES, read_image

REMBG = "rembg[cpu]==2.0.86"
LOADERS = {
    "keras.h5": "import keras; m = keras.models.load_model(path + '.h5'); y = m(x)",
    "keras.keras": "import keras; m = keras.models.load_model(path + '.keras'); y = m.predict(x, verbose=0)",
    "tf_keras.h5": "import tf_keras; m = tf_keras.models.load_model(path + '.h5'); y = m(x)",
    "saved_model": "import tensorflow as tf; m = tf.saved_model.load(path + '_savedmodel'); y = m(x)['mask']",
    "signature": (
        "import tensorflow as tf; m = tf.saved_model.load(path + '_savedmodel');"
        "y = m.signatures['serving_default'](image=tf.constant(x))['mask']"
    ),
    "onnxruntime": (
        "import onnxruntime as o; m = o.InferenceSession(path + '.onnx');"
        "y = m.run(['mask'], {'image': x.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)"
    ),
    "tf.lite": (
        "import tensorflow as tf; m = tf.lite.Interpreter(path + '.tflite');"
        "y = m.get_signature_runner()(image=x)['mask']"
    ),
}


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


@pytest.mark.parametrize("loader", LOADERS)
def test_a_stock_loader_gives_the_same_mask(loader, real_artifacts, stranger, real_weights, tmp_path):
    photo = read_image(needs(DATA / "sod" / "images" / "girl.png"))
    x = PROFILES["paper"].tensor(photo, (320, 320))
    np.save(tmp_path / "x.npy", x.transpose(0, 2, 3, 1))
    path = str(real_artifacts["onnx"].with_suffix(""))
    script = (
        f"import numpy as np; path = {path!r}; x = np.ascontiguousarray(np.load('x.npy'));"
        f"{LOADERS[loader]}; np.save('y.npy', np.asarray(y))"
    )
    done = subprocess.run([stranger, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = Session(real_weights).predictor(x)["mask"]
    # Two float32 runs of these weights may each stray 1e-4 from float64.
    np.testing.assert_allclose(np.load(tmp_path / "y.npy").transpose(0, 3, 1, 2), expected, rtol=0, atol=5e-4)


@pytest.mark.slow
def test_rembg_takes_the_onnx_file(real_artifacts, tmp_path):
    """rembg in an environment of its own, with our file as its model: its mask is ours under its profile."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    installed = subprocess.run([python, "-m", "pip", "install", "-q", REMBG], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"needs a package index to install {REMBG}: {installed.stderr.splitlines()[-1]}")
    image = needs(DATA / "sod" / "images" / "girl.png")
    script = (
        "import sys; from PIL import Image; from rembg import new_session, remove;"
        "s = new_session('u2net_custom', model_path=sys.argv[1]);"
        "remove(Image.open(sys.argv[2]), session=s, only_mask=True).save(sys.argv[3])"
    )
    models = tmp_path / ".rembg"  # rembg takes models from its own folder only
    models.mkdir()
    model = shutil.copy(real_artifacts["onnx"], models)
    done = subprocess.run(
        [python, "-c", script, model, image, tmp_path / "mask.png"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours = Session(real_artifacts["onnx"], profile="rembg").mask(read_image(image))
    iou, mae = mask_agreement([(Image.open(tmp_path / "mask.png"), ours)])
    assert iou > 0.999
    assert mae < 0.5


def test_the_authors_class_would_take_our_file(real_artifacts, real_weights):
    """Same keys, shapes and types as the authors' own file, in a file that stock torch opens with weights_only."""
    import torch

    ours = torch.load(real_artifacts["pth"], weights_only=True)
    theirs = torch.load(real_weights, weights_only=True)
    assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {k: (v.shape, v.dtype) for k, v in theirs.items()}
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_torch_hub_loads_a_clone(real_weights):
    import torch

    root = Path(__file__).resolve().parents[1]
    model = torch.hub.load(str(root), "u2netp", weights=str(real_weights), source="local")
    assert len(model(torch.zeros(1, 3, 32, 32))) == 7


def test_the_readme_imports_work():
    code = "from u2net_zoo import load_torch, load_keras, Session; from converters import convert, FORMATS"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

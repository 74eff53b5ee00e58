"""The folder in which the pages' blocks run: what the pages speak of, from photographs of scikit-image and the
bundled weights; and a catalog whose downloads are served from this machine.

Every `.pth`, and every name of the catalog, holds the weights of u2net_nano, so masks are masks; networks that tell
classes apart are small and hold hard weights. `app.tflite` is right; `found.tflite` has its weights and aligns corners.
"""

import shutil
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image
from support import webserver
from support.artifacts import Store, nano
from support.data import NANO, ROOT
from support.documented import Page
from support.hub_server import TOKEN, Hub
from support.networks import SMALL, hard_checkpoint
from support.photographs import photograph

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
WIDTH = 160
SIDE = 96  # of what found.tflite takes: a quarter of the time of 320, and the same fault
FACTS = ("purpose", "profile", "output", "licence", "training", "citation", "out_ch", "classes")


def build(folder: Path) -> Path:
    """Writes all of it into the empty `folder`."""
    from u2net_zoo import Session

    session, pictures = Session("u2net_nano"), {name.split(".")[0]: photograph(name, WIDTH) for name in PHOTOGRAPHS}
    for part in ("photos", "masks", "maps", "portraits", "predictions", "photographs"):
        (folder / part).mkdir()
    for name, picture in pictures.items():
        mask = session.mask(picture)
        picture.save(folder / "photos" / f"{name}.jpg", quality=92)
        picture.save(folder / "photographs" / f"{name}.jpg", quality=92)
        mask.save(folder / "predictions" / f"{name}.png")
        mask.point(lambda v: 255 * (v > 127)).save(folder / "masks" / f"{name}.png")
        _thirds(mask).save(folder / "maps" / f"{name}.png")
        _beside(picture, picture.convert("L")).save(folder / "portraits" / f"{name}.png")
    for name in ("photo.jpg", "input.jpg", "in.jpg", "input.png"):
        photograph("chelsea.png", 225).save(folder / name, quality=92)
    shutil.copytree(folder / "photos", folder / "in")
    photograph("rocket.jpg", 320).save(folder / "beach.jpg", quality=92)
    _heic(pictures["coffee"], folder / "photos" / "coffee2.heic")
    _clip(folder / "clip.mp4")
    _weights(folder)
    return folder


def _thirds(mask: Image.Image) -> Image.Image:
    """A map of four classes: background, and the left, middle and right third of the object."""
    part = 1 + np.arange(mask.width) * 3 // mask.width
    return Image.fromarray(np.where(np.asarray(mask) > 127, part, 0).astype(np.uint8))


def _beside(photograph: Image.Image, drawing: Image.Image) -> Image.Image:
    both = Image.new("RGB", (2 * photograph.width, photograph.height))
    both.paste(photograph, (0, 0))
    both.paste(drawing, (photograph.width, 0))
    return both


def _heic(picture: Image.Image, path: Path) -> None:
    from pillow_heif import from_pillow

    from_pillow(picture).save(path)


def _clip(path: Path) -> None:
    from support.videos import film

    film(path, range(0, 240, 40))


def _weights(folder: Path) -> None:
    import torch
    from support.faults import aligned_corners

    from converters import FORMATS, Options

    checkpoint, onnx, tflite = nano(), FORMATS["onnx"], FORMATS["tflite"]
    state = {name: torch.from_numpy(values) for name, values in checkpoint.full_state().items()}
    for name in ("u2netp.pth", "u2net.pth"):
        torch.save(state, folder / name)
    (folder / "out").mkdir()
    onnx.write(checkpoint, folder / "u2netp.onnx", onnx.settle(Options()))
    shutil.copy(folder / "u2netp.onnx", folder / "out" / "u2netp.onnx")
    onnx.write(checkpoint, folder / "mine.onnx", onnx.settle(Options(size=(64, 64))))
    tflite.write(checkpoint, folder / "app.tflite", tflite.settle(Options(size=(SIDE, SIDE))))
    aligned_corners(folder / "app.tflite", folder / "found.tflite")


def stand_ins(folder: Path) -> Path:
    """The folder of what the catalog's addresses send."""
    from dataclasses import replace

    from safetensors.numpy import save_file

    folder.mkdir()
    shutil.copy(ROOT / "weights" / "u2net_nano.safetensors", folder / "mask.safetensors")
    classes = hard_checkpoint(replace(SMALL, out_ch=4, final="none"))
    save_file(classes.full_state(), folder / "classes.safetensors")
    return folder


def catalog(path: Path, base: str) -> Path:
    """The real catalog's entries, each with one address on this machine, but for what comes with the project."""
    document = tomllib.loads((ROOT / "weights" / "catalog.toml").read_text("utf-8"))
    lines = []
    for name, entry in document.items():
        file = f"{'classes' if entry['output'] == 'classes' else 'mask'}.safetensors"
        facts = {key: entry[key] for key in FACTS if key in entry} | {"architecture": "from shapes"}
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in facts.items())]
        source = {"kind": "http", "url": f"{base}/ok/{file}", "file": file}
        if entry["sources"][0]["kind"] == "bundled":
            source, facts["architecture"] = entry["sources"][0], entry["architecture"]
        lines += [f"[[{name}.sources]]", *(f"{key} = {_toml(value)}" for key, value in source.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    return path


def _toml(value: str | int | list) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


class Surroundings:
    """The folder, built once in a run, and the server of its catalog, which has to be closed."""

    def __init__(self, store: Store, place: Path):
        self.source = store.once("the pages' folder", build)
        self.server = webserver.Server(stand_ins(place / "addresses")).start()
        self.hub = _hub(self.source)
        self.env = {
            "U2ZOO_CATALOG": str(catalog(place / "catalog.toml", self.server.base)),
            "HF_ENDPOINT": self.hub.address,
            "HF_TOKEN": TOKEN,
        }

    def page(self, folder: Path) -> Page:
        """A page whose folder this becomes; its cache is empty, beside it."""
        shutil.copytree(self.source, folder)
        return Page(folder, {**self.env, "U2ZOO_HOME": f"{folder}-home"})

    def close(self) -> None:
        self.server.close()
        self.hub.close()


def _hub(folder: Path) -> Hub:
    """A hub that has the pages' OWNER/NAME, with a branch."""
    hub = Hub().start()
    weights, model = NANO.read_bytes(), (folder / "u2netp.onnx").read_bytes()
    repository = hub.add("OWNER/NAME", {"model.safetensors": weights, "onnx/model.onnx": model})
    repository.refs["v1.0"] = repository.refs["main"]
    return hub

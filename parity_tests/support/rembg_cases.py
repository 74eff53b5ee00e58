"""What is asked of rembg's server and of ours: photographs, every combination of parameters, and answers to compare.

The goldens are rembg 2.0.86's answers (scripts/record_rembg.py). Their network is a formula that every processor
computes alike, so what rembg does around a network is compared to the bit.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import requests
from PIL import Image
from support.data import NANO, TESTS
from support.photographs import in_mode, photograph

GOLDENS = TESTS / "goldens" / "rembg.json"
MODEL = "u2net_custom"
STARTS = 400  # seconds for rembg to start: PyMatting is compiled the first time
WIDTH = 160  # of the cat: closed-form matting takes seconds for more
SAMPLES = 256  # pixels that are kept of an answer in which colours or alpha were estimated
FLAGS = ("om", "ppm", "a", "dc")
COLOUR = {"bgc": "30,200,90,255"}


@dataclass(frozen=True)
class Case:
    """One request. `query`: what rembg reads of the query alone, also in a POST."""

    photograph: str
    form: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        said = [f"{key}={value}" for key, value in {**self.form, **self.query}.items()]
        return " ".join([self.photograph, *said])

    @property
    def estimated(self) -> bool:
        """Whether colours or alpha are the result of an iteration."""
        return "om" not in self.form and bool({"a", "dc"} & set(self.form))


def every_combination() -> Iterator[Case]:
    for chosen in itertools.product((False, True), repeat=len(FLAGS)):
        form = {flag: "true" for flag, on in zip(FLAGS, chosen, strict=True) if on}
        yield Case("cat", form)
        yield Case("cat", form, COLOUR)


TRIMAPS = (
    {"af": "200", "ab": "60", "ae": "3"},
    {"ae": "0"},
    {"af": "255"},  # no object is certain: closed-form matting has no answer
)
CASES = [
    *every_combination(),
    *(Case("cat", {"a": "true", **trimap}) for trimap in TRIMAPS),
    Case("cat", {"af": "1", "ae": "1"}),  # without a they mean nothing
    Case("cat", {}, {"bgc": "255,255,255"}),
    Case("cat", {}, {"bgc": "0,0,255,128"}),
    Case("cat", {}, {"extras": '{"putalpha": true}'}),
    Case("cat", {"dc": "true"}, {"extras": '{"putalpha": true}'}),
    Case("cat", {"a": "true", "af": "255"}, {"extras": '{"putalpha": true}'}),
    *(Case(mode, form) for mode in ("L", "RGBA", "P", "CMYK", "LA", "upright") for form in ({}, {"om": "true"})),
    Case("RGBA", {"a": "true"}),
    Case("RGBA", {"dc": "true"}),
    Case("coffee", {}),
    Case("coffee", {"om": "true", "ppm": "true"}),
]
NANO_CASE = Case("coffee", {"om": "true"})  # asked with the bundled network


@cache
def photograph_bytes(name: str) -> bytes:
    """A file that is decoded alike everywhere: PNG, and TIFF for CMYK."""
    cat = photograph("chelsea.png", WIDTH)
    buffer = io.BytesIO()
    if name == "upright":
        exif = Image.Exif()
        exif[0x0112] = 6
        cat.save(buffer, "PNG", exif=exif)
    elif name == "coffee":
        photograph("coffee.png").save(buffer, "PNG")
    else:
        picture = cat if name == "cat" else in_mode(cat, name)
        picture.save(buffer, "TIFF" if name == "CMYK" else "PNG")
    return buffer.getvalue()


def ask(base: str, case: Case, **more: str) -> Image.Image:
    """The answer of a server to a case, as its clients ask: a form with a file."""
    files = {"file": ("photograph", photograph_bytes(case.photograph))}
    data = {"model": MODEL, **case.form}
    query = {**case.query, **more}
    answer = requests.post(f"{base}/api/remove", files=files, data=data, params=query, timeout=300)
    assert answer.status_code == 200, (case.name, answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))


def seen(picture: Image.Image) -> np.ndarray:
    """(h, w, 4): what can be seen of a picture, in whatever mode it is stored."""
    return np.asarray(picture.convert("RGBA"))


def digest(picture: Image.Image) -> str:
    pixels = seen(picture)
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def samples(picture: Image.Image) -> np.ndarray:
    """`SAMPLES` pixels spread over the edge of what is seen and the rest of it, (n, 4)."""
    pixels = seen(picture).reshape(-1, 4)
    return pixels[:: max(1, len(pixels) // SAMPLES)]


def goldens() -> dict:
    return json.loads(GOLDENS.read_text(encoding="utf-8"))


def formula(path: Path) -> Path:
    """A network that is half of its green input and one half, cut to [0, 1]: no processor computes it otherwise."""
    from onnx import TensorProto, checker, helper, save

    def constant(name: str, values: list, kind: int = TensorProto.FLOAT) -> object:
        return helper.make_tensor(name, kind, [len(values)] if kind == TensorProto.INT64 else [], values)

    nodes = [
        helper.make_node("Slice", ["image", "from", "to", "axis"], ["green"]),
        helper.make_node("Mul", ["green", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "half"], ["moved"]),
        helper.make_node("Clip", ["moved", "zero", "one"], ["mask"]),
    ]
    given = [constant(name, [value]) for name, value in {"half": 0.5, "zero": 0.0, "one": 1.0}.items()]
    given += [constant(name, [value], TensorProto.INT64) for name, value in {"from": 1, "to": 2, "axis": 1}.items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, "height", "width"])
        for name, channels in (("image", 3), ("mask", 1))
    ]
    graph = helper.make_graph(nodes, "formula", ends[:1], ends[1:], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, path)
    return path


def nano(folder: Path) -> Path:
    """The bundled network's ONNX file."""
    from converters import FORMATS, Options
    from converters.loading import read_source

    path = folder / "u2net_nano.onnx"
    FORMATS["onnx"].write(read_source(NANO), path, FORMATS["onnx"].settle(Options()))
    return path


@contextlib.contextmanager
def rembg_server(command: Path, models: Path, log: Path) -> Iterator[str]:
    """rembg's own server on a free port; `models` are its models' folder. Its address, when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "U2NET_HOME": str(models), "HOME": str(models), "BROWSER": "true"}
    environment.pop("PYTHONPATH", None)
    arguments = [command, "s", "--host", "127.0.0.1", "--port", str(port), "--log_level", "error", "--no-ui"]
    with log.open("w") as said:
        process = subprocess.Popen(arguments, env=environment, stdout=said, stderr=said)
    base = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + STARTS
        while not _answers(base):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        yield base
    finally:
        process.kill()
        process.wait()


def _answers(base: str) -> bool:
    try:
        return requests.get(f"{base}/openapi.json", timeout=5).ok
    except requests.ConnectionError:
        return False

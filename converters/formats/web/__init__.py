"""`web`: a folder with the ONNX model, onnxruntime-web and a page that runs the model in the browser alone.

The page is the server's (`u2net_zoo/page`) with another `engine.js`: its masks come from a worker in the browser,
`worker.js`, which prepares photographs as the profile does in Python. The model takes tensors and not pixels: where a
photograph of a cat was rounded to 8 bits at the network's size, the bundled network was more than two grey levels off
on 3 % of the mask (2026-11-21).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from u2net_zoo import __version__
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import DARKEST, EMPTY, get_profile

from ...options import DYNAMIC, Options
from ...predictor import Predictor
from ..onnx_format import OPSETS, Onnx
from . import probe
from .onnxruntime_web import ENGINES, MEMBERS, runtime

__all__ = ["Web"]

PAGE = files("u2net_zoo") / "page"
# The server's page and this one are the same in them.
SHARED = ("app.js", "camera.js", "compose.js", "icon.svg", "style.css")
OWN = ("engine.js", "worker.js")
# The headers that isolate the page: in a server for it, and as hosts read them.
SERVING = {"page_server.py": "serve.py", "_headers": "_headers"}
PROFILES = ("paper", "portrait")  # those whose ways of resizing `worker.js` has
MODEL = ("model.json", "model.onnx", "page/worker.js")
OFFLINE = {"offline.js": "wasm", "offline-webgpu.js": "webgpu"}  # script to the runtime that it holds
PAGE_BYTES = 400_000  # of the page itself and the runtime's licences, about
LARGEST_OFFLINE = 100 << 20  # bytes of a model that a double-clicked page still loads, as text, in a second or two


class Web(Onnx):
    name = "web"
    title = "web page"
    suffix = "_web"
    signature = None
    is_folder = True
    marker = "model.onnx"
    downloads = prepares = True
    direct = engine = False
    lanes = ()
    choices = {
        "batch": (DYNAMIC,),
        "precision": ("fp32",),
        "outputs": ("mask",),
        "io": ("tensor",),
        "via": ("native",),
    }

    def accepts(self, path: Path) -> bool:
        return (path / self.marker).is_file() and (path / "model.json").is_file()

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        super().check(checkpoint, options)
        if (options.profile or PROFILES[0]) not in PROFILES:
            raise OptionError(
                f"format 'web' cannot honour --profile {options.profile}; its page has: {', '.join(PROFILES)}"
            )
        arch = checkpoint.arch
        if (arch.in_ch, arch.out_ch, arch.final) != (3, 1, "sigmoid"):
            raise OptionError(
                f"format 'web': its page shows one mask of an RGB picture; {arch.name} has {arch.in_ch} channels in, "
                f"{arch.out_ch} out"
            )

    def expected_bytes(self, weights: int, units: int) -> int:
        """The model and the runtime, each once as a file and once as text in the scripts for a double click."""
        model = super().expected_bytes(weights, units)
        runtime_files = sum(size for size, _ in MEMBERS.values())
        double_clicked = runtime_files + (model if model <= LARGEST_OFFLINE else 0)
        return model + runtime_files + PAGE_BYTES + double_clicked * 4 // 3

    def prepare(self) -> None:
        runtime()  # fetched now, not when everything else is done

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        path.mkdir()
        super().write(checkpoint, path / self.marker, replace(options, opset=OPSETS[0]))
        known = probe.describe(self.open(path), *(options.size or (0, 0)))
        about = _describe(checkpoint, options, path.name.removesuffix(self.suffix)) | {"probe": known}
        (path / "model.json").write_bytes(json.dumps(about).encode())
        (path / "page").mkdir()
        for name in SHARED:
            (path / "page" / name).write_bytes((PAGE / name).read_bytes())
        for name in OWN:
            (path / "page" / name).write_bytes((files(__package__) / name).read_bytes())
        for source, name in SERVING.items():
            (path / name).write_bytes((files(__package__) / source).read_bytes())
        (path / "index.html").write_bytes((PAGE / "index.html").read_bytes())
        _add_runtime(path / "runtime")
        if (path / self.marker).stat().st_size <= LARGEST_OFFLINE:
            _add_offline(path)

    def open(self, path: Path) -> Predictor:
        return super().open(path / self.marker)

    def open_on(self, path: Path, device: str) -> Predictor:
        return super().open_on(path / self.marker, device)

    def read(self, path: Path) -> Checkpoint:
        return super().read(path / self.marker)

    def words_in(self, path: Path) -> Mapping[str, str]:
        return super().words_in(path / self.marker)

    def files(self, path: Path) -> list[Path]:
        return [path / self.marker]


def _describe(checkpoint: Checkpoint, options: Options, name: str) -> dict[str, Any]:
    """What the page has to know of the model, and what it says of it."""
    height, width = options.size or (0, 0)
    profile = get_profile(options.profile or PROFILES[0])
    rules = ("mean", "std", "by_maximum", "grey_as_first", "invert", "stretch")
    return {
        "name": name,
        "width": width,
        "height": height,
        "profile": profile.name,
        **{rule: getattr(profile, rule) for rule in rules},
        "darkest": DARKEST,
        "empty": EMPTY,
        "licence": checkpoint.meta.get("licence", ""),
        "made": f"u2net-zoo {__version__}",
    }


def _add_runtime(folder: Path) -> None:
    folder.mkdir()
    for name, content in runtime().items():
        (folder / name).write_bytes(content)
    for name in ("LICENSE", "ThirdPartyNotices.txt"):  # the npm package leaves them out; it is of the same sources
        (folder / name).write_bytes((files("onnxruntime") / name).read_bytes())


def _add_offline(folder: Path) -> None:
    """The files that the page asks for, as text in scripts: a page that was double-clicked may load no others."""
    for script, engine in OFFLINE.items():
        names = [f"runtime/{name}" for name in ENGINES[engine]]
        with (folder / script).open("w", encoding="ascii", newline="\n") as text:
            text.write("window.offline ??= {};\n")
            for name in [*MODEL, *names] if engine == "wasm" else names:
                content = base64.b64encode((folder / name).read_bytes()).decode()
                text.write(f'window.offline["{name}"] = "{content}";\n')

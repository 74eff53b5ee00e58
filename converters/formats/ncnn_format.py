"""`ncnn`: `.param` and `.bin`, written directly from the architecture's own walk; run by the `ncnn` package."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from u2net_zoo.arch import POOL, RSU, Architecture, Unit
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, one_line

from ..format import Format, Lane
from ..mask_errors import MaskBound
from ..options import Options
from ..predictor import Predictor
from . import ncnn_reader
from .layout import check_input
from .ncnn_reader import HALF, MAGIC, binary_of

__all__ = ["Ncnn"]

BILINEAR = 2


class Ncnn(Format):
    name = "ncnn"
    title = "ncnn model"
    suffix = "_ncnn"
    unit_bytes, writing_seconds = 240, 1
    also = (".param",)
    is_folder = True
    marker = "model.ncnn.param"
    parts = {".bin": ".param"}
    extra = "ncnn"
    packages = ("ncnn",)
    lanes = (Lane("ncnn"),)
    choices = {
        "batch": (1,),
        "precision": ("fp32", "fp16"),
        "outputs": ("mask", "all"),
        "io": ("tensor",),
        "via": ("native",),
    }
    # Measured on the small test network at 320, 2026-11-20: IoU 0.9993, MAE 2.2e-06.
    bounds = {"fp16": MaskBound(iou=0.98, mae=0.005)}

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        folded = checkpoint.fold()
        layers = _graph(folded.arch, options)
        path.mkdir()
        lines = [MAGIC, f"{len(layers)} {len({blob for layer in layers for blob in layer.outputs})}"]
        (path / self.marker).write_bytes("\n".join([*lines, *(layer.line for layer in layers), ""]).encode())
        with binary_of(path / self.marker).open("wb") as stream:
            for layer in layers:
                stream.write(_weights(layer, folded, half=options.precision == "fp16"))

    def open(self, path: Path) -> Predictor:
        return _Runtime(self.param_of(path))

    def read(self, path: Path) -> Checkpoint:
        return ncnn_reader.read(self.param_of(path))

    def files(self, path: Path) -> list[Path]:
        return [self.param_of(path), binary_of(self.param_of(path))]

    def param_of(self, path: Path) -> Path:
        return path / self.marker if path.is_dir() else path


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: str = ""
    unit: Unit | None = None

    @property
    def line(self) -> str:
        fields = (self.kind, self.name, len(self.inputs), len(self.outputs), *self.inputs, *self.outputs, self.params)
        return " ".join(str(item) for item in fields).rstrip()


@dataclass(frozen=True)
class _Map:
    """A feature map: the blob that holds it and its size, which ncnn's Interp wants in numbers."""

    blob: str
    size: tuple[int, int]


class _Writer:
    """Ops of an architecture's walk that note ncnn's layers."""

    def __init__(self) -> None:
        self.layers: list[_Layer] = []

    def emit(self, kind: str, inputs: tuple[str, ...], params: str, size: tuple[int, int], blob: str = "") -> _Map:
        blob = blob or f"{kind.lower()}_{len(self.layers)}"
        self.layers.append(_Layer(kind, blob, inputs, (blob,), params))
        return _Map(blob, size)

    def conv(self, unit: Unit, x: _Map) -> _Map:
        count = unit.out_ch * unit.in_ch * unit.kernel**2
        fields = {0: unit.out_ch, 1: unit.kernel, 2: unit.dilation, 3: unit.stride, 4: unit.padding, 5: 1, 6: count}
        params = " ".join(f"{key}={value}" for key, value in fields.items()) + (" 9=1" if unit.relu else "")
        self.layers.append(_Layer("Convolution", unit.path, (x.blob,), (unit.path,), params, unit))
        height, width = (-(-side // unit.stride) for side in x.size)
        return _Map(unit.path, (height, width))

    def pool(self, x: _Map) -> _Map:
        height, width = (-(-side // POOL) for side in x.size)
        return self.emit("Pooling", (x.blob,), f"0=0 1={POOL} 2={POOL} 5=0", (height, width))  # 5=0: rounds up

    def upsample(self, x: _Map, like: _Map) -> _Map:
        return self.emit("Interp", (x.blob,), f"0={BILINEAR} 3={like.size[0]} 4={like.size[1]} 6=0", like.size)

    def concat(self, *maps: _Map) -> _Map:
        return self.emit("Concat", tuple(m.blob for m in maps), "0=0", maps[0].size)

    def add(self, a: _Map, b: _Map) -> _Map:
        return self.emit("BinaryOp", (a.blob, b.blob), "0=0", a.size)

    def block(self, block: RSU, x: _Map) -> _Map:
        return block.run(self, x)


def _graph(arch: Architecture, options: Options) -> list[_Layer]:
    """The layers that lead to the outputs asked for, each blob taken once, as ncnn wants it."""
    writer, (height, width) = _Writer(), options.size or (320, 320)
    image = writer.emit("Input", (), f"0={width} 1={height} 2={arch.in_ch}", (height, width), "image")
    names = arch.outputs if options.outputs == "all" else arch.outputs[:1]
    for name, logits in zip(names, arch.run(writer, image), strict=False):
        # Outputs are named `mask`, `out1` …: the convolution before has the name `side1` already.
        kind = "Sigmoid" if arch.final == "sigmoid" else "Noop"
        writer.emit(kind, (logits.blob,), "", logits.size, name.replace("side", "out"))
    wanted = {name.replace("side", "out") for name in names}
    kept = []
    for layer in reversed(writer.layers):
        if wanted & set(layer.outputs):
            wanted |= set(layer.inputs)
            kept.append(layer)
    return list(_split(kept[::-1]))


def _split(layers: list[_Layer]) -> Iterator[_Layer]:
    """Puts a Split behind every blob that several layers take."""
    users = Counter(blob for layer in layers for blob in layer.inputs)
    taken: Counter[str] = Counter()

    def copy_of(blob: str) -> str:
        if users[blob] < 2:
            return blob
        taken[blob] += 1
        return f"{blob}_copy{taken[blob] - 1}"

    for layer in layers:
        inputs = tuple(copy_of(blob) for blob in layer.inputs)
        yield _Layer(layer.kind, layer.name, inputs, layer.outputs, layer.params, layer.unit)
        blob = layer.outputs[0]
        if users[blob] > 1:
            yield _Layer("Split", f"split_{blob}", (blob,), tuple(f"{blob}_copy{n}" for n in range(users[blob])))


def _weights(layer: _Layer, checkpoint: Checkpoint, half: bool) -> bytes:
    """A convolution's part of the `.bin`: tag, kernel (filled up to whole words), bias in float32."""
    if layer.unit is None:
        return b""
    kernel, bias = (checkpoint.state[f"{layer.unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
    if not half:
        return np.uint32(0).tobytes() + kernel.tobytes() + bias.tobytes()
    stored = kernel.astype(np.float16).tobytes()
    return np.uint32(HALF).tobytes() + stored + bytes(-len(stored) % 4) + bias.tobytes()


class _Runtime(Predictor):
    """float32 arithmetic throughout: ncnn's defaults compute in float16 where the processor can.

    Nor Winograd's convolution, which costs digits: 4.1e-06 on a side output where Torch itself loses 8.5e-07.
    """

    concurrent = True  # each call has an extractor of its own
    batch = 1

    def __init__(self, param: Path):
        try:
            ncnn_reader.read(param)  # ncnn itself ends the process on some damaged files
        except Exception as error:
            raise ArtifactError(f"{param}: ncnn cannot run it ({one_line(error)})") from None
        import ncnn

        self.ncnn, self.net = ncnn, ncnn.Net()
        option = self.net.opt
        option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = option.use_bf16_storage = False
        option.use_winograd_convolution = False
        if self.net.load_param(str(param)) or self.net.load_model(str(binary_of(param))):
            raise ArtifactError(f"{param}: ncnn cannot load it")
        self.input = self.net.input_names()[0]
        self.blobs = list(self.net.output_names())
        self.outputs = tuple(re.sub(r"^out(\d+)$", r"side\1", name) for name in self.blobs)
        text = param.read_text("utf-8")
        sizes = [(int(h), int(w)) for h, w in re.findall(r"^Interp .* 3=(\d+) 4=(\d+)", text, re.MULTILINE)]
        self.size = max(sizes, default=None)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        return dict(zip(self.outputs, self._extract(x, self.blobs), strict=True))

    def _extract(self, x: np.ndarray, blobs: list[str], light: bool = True) -> list[np.ndarray]:
        image = np.ascontiguousarray(x[0])  # a Mat borrows the memory, so it has to outlive the extractor
        extractor = self.net.create_extractor()
        extractor.set_light_mode(light)
        extractor.input(self.input, self.ncnn.Mat(image).clone())
        results = []
        for blob in blobs:
            status, value = extractor.extract(blob)
            if status:
                raise ArtifactError(f"ncnn cannot compute {blob!r} (status {status})")
            results.append(np.array(value)[None].copy())
        return results

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        known = (
            set(self.net.layers_names())
            if hasattr(self.net, "layers_names")
            else {layer.name for layer in self.net.layers()}
        )
        for unit in arch.units():
            if unit.path in known:
                yield unit.path, self._extract(x, [unit.path], light=False)[0]

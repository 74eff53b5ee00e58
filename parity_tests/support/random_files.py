"""Valid files drawn at random: a network of the family × a maker × its options × the name that the file has."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint

__all__ = ["Maker", "makers", "networks", "renamed"]

SIZES = ((64, 64), (96, 128), (64, 96))
Maker = Callable[[Checkpoint, Path, random.Random], Path]


def networks(chance: random.Random) -> Checkpoint:
    """A checkpoint of the family: the bundled one, or hard weights in a shape drawn at random."""
    from support.data import NANO
    from support.hard_weights import hard_weights

    from u2net_zoo.arch import two_level
    from u2net_zoo.reading import read_checkpoint

    if chance.random() < 0.3:
        return read_checkpoint(NANO)
    heights = chance.choice([(7, 6, 5, 4, 4, 4), (7, 6, 5, 4, 4, 4), (8, 7, 6, 5, 5, 5), (5, 4, 4), (6, 5, 4, 4, 4)])
    dilated = chance.choice(["usual", "usual", "plain", "all deep"])
    depth = len(heights)
    deep = {"usual": {depth - 1, depth - 2}, "plain": set(), "all deep": {depth - 1, depth - 2, depth - 3}}[dilated]
    kinds = [f"{height}{'F' if n in deep else ''}" for n, height in enumerate(heights)]
    width = [(chance.choice([3, 4, 6]), chance.choice([6, 8, 12])) for _ in range(2 * depth - 1)]
    if chance.random() < 0.3:
        width = width[:1] * len(width)
    stages = [(kind, *width[n]) for n, kind in enumerate(kinds)]
    ups = [(kind, *width[depth + n]) for n, kind in enumerate(kinds[-2::-1])]
    isnet = chance.random() < 0.15
    arch = two_level("random", stages, ups, stem_ch=5 if isnet else None, fused=not isnet)
    return Checkpoint.from_state(hard_weights(arch.state_shapes(), chance.randrange(1 << 16), 1.0), arch=arch)


def ours(name: str) -> Maker:
    """As this project writes it, with options drawn at random; what its gate refuses is refused."""

    def write(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
        from converters import FORMATS, Options, convert

        fmt = FORMATS[name]
        drawn = {
            key: chance.choice(fmt.choices[key])
            for key in ("precision", "outputs", "io")
            if key in fmt.choices and chance.random() < 0.5
        }
        if drawn.get("precision") not in (None, "fp32", "fp16"):
            drawn["precision"] = "fp32"  # fewer bits are chosen against masks, which `convert` proves
        options = Options(size=chance.choice(SIZES), **drawn)
        return convert(network, name, folder, name="model", options=options)[0].path

    return write


def recipe(key: tuple[str, str]) -> Maker:
    """A file that normalises pixels itself."""

    def write(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
        from support.self_normalising import RECIPES

        size = chance.choice(SIZES)
        if key[0] == "openvino":  # it cannot pool what is one pixel wide already
            size = (max(size[0], network.arch.stride), max(size[1], network.arch.stride))
        return RECIPES[key][0](network, folder, size)

    return write


def plain_onnx(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
    """As the authors' class is exported: several opsets, folded or not, some or all outputs, under other names."""
    import torch

    from u2net_zoo import torch_model

    model = torch_model.build(network)
    count = chance.choice([1, len(network.arch.outputs)])

    class Some(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Any) -> Any:
            return self.net(x)[:count] if count > 1 else self.net(x)[0]

    names = chance.choice([None, [f"o{n}" for n in range(count)], [f"d{n}" for n in range(count)]])
    folded = chance.random() < 0.5
    torch.onnx.export(
        Some().eval(), (torch.zeros(1, 3, *chance.choice(SIZES)),), str(folder / "model.onnx"),
        opset_version=chance.choice([11, 13, 17]), dynamo=False, output_names=names, do_constant_folding=folded,
        training=torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    return folder / "model.onnx"


def torchscript(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
    import torch

    from u2net_zoo import torch_model

    model = torch.jit.trace(torch_model.build(network).eval(), torch.zeros(1, 3, 320, 320), check_trace=False)
    model = torch.jit.freeze(model) if chance.random() < 0.5 else model
    model.save(str(folder / "model.torchscript"))
    return folder / "model.torchscript"


def container(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
    """A state dict as training scripts save it."""
    import torch

    prefix = chance.choice(["", "module.", "net.model.", "student."])
    state = {f"{prefix}{key}": torch.from_numpy(np.array(value)) for key, value in network.full_state().items()}
    wrapped = chance.choice([state, {"state_dict": state, "epoch": 3}, {"model": state, "optimizer": {"lr": 0.1}}])
    path = folder / chance.choice(
        ["model.pth", "model.pt", "last.ckpt", "model.pth.tar", "pytorch_model.bin", "weights"]
    )
    torch.save(wrapped, path, _use_new_zipfile_serialization=chance.random() < 0.8)
    return path


def tensorflow(kind: str) -> Maker:
    def write(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
        from support.other_makers import half_tflite, saved_model

        if kind == "tflite":
            return half_tflite(network, folder / "model.tflite", chance.choice(SIZES))
        return saved_model(network, folder / "model_savedmodel", chance.choice(SIZES))

    return write


def keras(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
    """A functional model whose layers have Keras' own names; whole or its weights alone."""
    from support.keras_strangers import Strangers

    if network.arch.stem:
        return container(network, folder, chance)  # of the published U²-Net alone there are such models
    module = chance.choice(["keras", "tf_keras"])
    how = {"made": chance.choice(["end", "interleaved", "reversed"]), "fused": chance.choice(["forward", "reversed"])}
    model = Strangers(module, size=64, **how).build(network)
    if chance.random() < 0.5:
        path = folder / ("weights.weights.h5" if module == "keras" else "weights.h5")
        model.save_weights(path)
        return path
    path = folder / chance.choice(["model.h5", "model.keras"] if module == "keras" else ["model.h5"])
    model.save(path)
    return path


def numbered_ncnn(network: Checkpoint, folder: Path, chance: random.Random) -> Path:
    from support.other_makers import numbered_ncnn as renumbered

    made = ours("ncnn")(network, folder, chance)
    param = next(made.glob("*.param")) if made.is_dir() else made
    (folder / "numbered").mkdir()
    return renumbered(param, folder / "numbered")


def makers() -> dict[str, Maker]:
    from support.self_normalising import RECIPES

    from converters import FORMATS

    found: dict[str, Maker] = {f"ours: {name}": ours(name) for name, fmt in FORMATS.items() if not fmt.downloads}
    found |= {f"{name}, {what}": recipe((name, what)) for name, what in RECIPES}
    found |= {
        "onnx, the authors' class": plain_onnx,
        "torchscript, traced": torchscript,
        "state dict": container,
        "tflite, float16": tensorflow("tflite"),
        "savedmodel, frozen": tensorflow("savedmodel"),
        "keras, default names": keras,
        "ncnn, numbered": numbered_ncnn,
    }
    return found


def renamed(path: Path, chance: random.Random) -> Path:
    """Sometimes under a name that does not say what it is."""
    if path.is_dir() or path.suffix == ".param" or path.with_suffix(".bin").exists() or chance.random() > 0.2:
        return path
    return Path(shutil.move(path, path.with_name(chance.choice(["download", "model.bin", "model.pth", "u2net.model"]))))

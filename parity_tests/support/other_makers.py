"""Files as other makers' converters write them: TensorFlow with its weights in the graph, ncnn's numbered pairs."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from converters.formats.ncnn_reader import binary_of
from u2net_zoo.arch import POOL, RSU, Unit
from u2net_zoo.checkpoint import Checkpoint


class PlainTensorFlow:
    """TensorFlow's own ops for the walks of `arch`, as onnx2tf writes them: the weights are constants in the graph, a
    `VALID` convolution has a `Pad` before it, and its bias is added by an `Add`."""

    def __init__(self, checkpoint: Checkpoint, align_corners: bool = False):
        self.state, self.align_corners = checkpoint.fold().state, align_corners

    def conv(self, unit: Unit, x: Any) -> Any:
        import tensorflow as tf

        kernel, bias = (self.state[f"{unit.conv_path}.{leaf}"] for leaf in ("weight", "bias"))
        side = [unit.padding, unit.padding]
        x = tf.pad(x, [[0, 0], side, side, [0, 0]]) if unit.padding else x
        x = tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), unit.stride, "VALID", dilations=unit.dilation)
        return tf.nn.relu(x + bias) if unit.relu else x + bias

    def pool(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.nn.max_pool2d(x, POOL, POOL, "SAME")

    def upsample(self, x: Any, like: Any) -> Any:
        import tensorflow as tf

        size, corners = like.shape[1:3], self.align_corners
        return tf.raw_ops.ResizeBilinear(images=x, size=size, align_corners=corners, half_pixel_centers=not corners)

    def concat(self, *maps: Any) -> Any:
        import tensorflow as tf

        return tf.concat(maps, axis=-1)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def block(self, block: RSU, x: Any) -> Any:
        return block.run(self, x)


def tensorflow_function(checkpoint: Checkpoint, size: tuple[int, int], **how: Any) -> Any:
    """`function(image)`, image (1, H, W, C) float32: the probabilities as `Identity`, `Identity_1` …"""
    import tensorflow as tf

    spec = tf.TensorSpec((1, *size, checkpoint.arch.in_ch), tf.float32, name="input_1")

    @tf.function(input_signature=[spec], autograph=False)
    def function(image: Any) -> dict[str, Any]:
        logits = checkpoint.arch.run(PlainTensorFlow(checkpoint, **how), image)
        return {f"Identity_{n}" if n else "Identity": tf.sigmoid(x) for n, x in enumerate(logits)}

    return function


def half_tflite(checkpoint: Checkpoint, path: Path, size: tuple[int, int], **how: Any) -> Path:
    """A TFLite file with float16 weights, by TensorFlow's own converter."""
    import tensorflow as tf

    concrete = tensorflow_function(checkpoint, size, **how).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    return path


def saved_model(checkpoint: Checkpoint, path: Path, size: tuple[int, int], **how: Any) -> Path:
    """A SavedModel without variables."""
    import tensorflow as tf

    module = tf.Module()
    module.run = tensorflow_function(checkpoint, size, **how)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.run})
    return path


def numbered_ncnn(param: Path, folder: Path, first: int = 800) -> Path:
    """The pair of `param` under the names of `onnx2ncnn`: numbered blobs, layers by kind, `input.1` of no given size,
    defaults left out."""
    lines = [line.split() for line in param.read_text().splitlines()]
    numbers: dict[str, str] = {"image": "input.1"}
    for line in lines[2:]:
        ins, outs = int(line[2]), int(line[3])
        blobs, rest = line[4 : 4 + ins + outs], line[4 + ins + outs :]
        for blob in blobs[ins:]:
            numbers.setdefault(blob, str(first + len(numbers)))
        given = [item for item in rest if not re.fullmatch(r"[056]=0|[23]=1", item)]
        line[1] = "input.1" if line[0] == "Input" else f"{line[0]}_{len(numbers)}"
        line[4:] = [*(numbers[blob] for blob in blobs), *([] if line[0] == "Input" else given)]
    target = folder / "numbered_fp16.ncnn.param"
    target.write_text("\n".join(" ".join(line) for line in lines) + "\n")
    binary_of(target).write_bytes(binary_of(param).read_bytes())
    return target


def ordered(names: Iterable[str]) -> list[str]:
    """As they were numbered."""
    return sorted(names, key=lambda name: (len(name), name))

"""Files that normalise pixels themselves, as other makers' recipes write them: path -> what the file takes."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.preprocessing import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["RECIPES"]

Recipe = Callable[[Checkpoint, Path, tuple[int, int]], Path]


def torch_module(
    checkpoint: Checkpoint, scale: float, bgr: bool = False, last: bool = False, factor: float = 1.0
) -> Any:
    """The network behind torchvision's usual normalisation, of float or uint8 pixels."""
    import torch

    from u2net_zoo import torch_model

    class Normalising(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch_model.build(checkpoint)
            for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
                self.register_buffer(name, torch.tensor(values)[None, :, None, None])

        def forward(self, x: Any) -> Any:
            x = x.permute(0, 3, 1, 2) if last else x
            x = x.flip(1) if bgr else x
            return self.network((x.float() / scale - self.mean) / self.std)[0] * factor

    return Normalising().eval()


def exported_onnx(checkpoint: Checkpoint, path: Path, size: tuple[int, int], kind: str = "float32", **how: Any) -> Path:
    import torch

    shape = (1, *size, 3) if how.get("last") else (1, 3, *size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = torch.zeros(shape, dtype=getattr(torch, kind))
        torch.onnx.export(torch_module(checkpoint, **how), (sample,), str(path), opset_version=17, dynamo=False)
    return path


def onnx_of_pixels(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    return exported_onnx(checkpoint, folder / "pixels.onnx", size, scale=255.0)


def onnx_of_fractions(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    return exported_onnx(checkpoint, folder / "fractions.onnx", size, scale=1.0)


def onnx_of_bgr(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    return exported_onnx(checkpoint, folder / "bgr.onnx", size, scale=255.0, bgr=True)


def onnx_of_bytes(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    return exported_onnx(checkpoint, folder / "bytes.onnx", size, kind="uint8", scale=255.0, last=True)


def torchscript(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    import torch

    path = folder / "pixels.torchscript"
    # It keeps no size, so it is fed at the profile's.
    torch.jit.trace(torch_module(checkpoint, 255.0), torch.zeros(1, 3, 320, 320), check_trace=False).save(str(path))
    return path


def coreml(layout: str, kind: str = "mlpackage", grey: bool = False) -> Recipe:
    """coremltools' own recipe: one scale for all channels and a bias for each; `grey`: the mask as a picture."""

    def write(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
        import coremltools as ct
        import torch

        from u2net_zoo import torch_model

        std = 0.226
        bias = [-mean / std for mean in IMAGENET_MEAN]
        factor = 255.0 if grey else 1.0
        model = (
            torch_module(checkpoint, 255.0, factor=factor)
            if layout in ("tensor", "inside")
            else _mask_alone(torch_model.build(checkpoint), layout, factor)
        )
        answer = ct.ImageType("out", color_layout=ct.colorlayout.GRAYSCALE) if grey else ct.TensorType("out")
        how = {"minimum_deployment_target": ct.target.iOS15, "compute_precision": ct.precision.FLOAT32}
        if kind == "mlmodel":
            how = {"convert_to": "neuralnetwork", "minimum_deployment_target": ct.target.iOS14}
        given = ct.TensorType("image", shape=(1, 3, *size))
        if layout == "inside":  # each channel's own deviation, in the network
            given = ct.ImageType("image", shape=(1, 3, *size))
        elif layout != "tensor":
            layouts = {"RGB": ct.colorlayout.RGB, "BGR": ct.colorlayout.BGR}
            given = ct.ImageType(
                "image", shape=(1, 3, *size), scale=1 / 255 / std,
                bias=bias if layout == "RGB" else bias[::-1], color_layout=layouts[layout],
            )  # fmt: skip
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            package = ct.convert(
                torch.jit.trace(model.eval(), torch.rand(1, 3, *size), check_trace=False),
                inputs=[given], outputs=[answer], skip_model_load=True, **how,
            )  # fmt: skip
        path = folder / f"{layout}.{kind}"
        package.save(str(path))
        return path

    return write


def _mask_alone(network: Any, layout: str, factor: float) -> Any:
    """`factor` times d0; behind a picture whose blue comes first, of a network that was taught with red first."""
    import torch

    class Mask(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> Any:
            return self.network(x.flip(1) if layout == "BGR" else x)[0] * factor

    return Mask()


def openvino(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    """`mean_values` and `scale_values`, as the model optimizer takes them."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    plain = exported_onnx(checkpoint, folder / "plain.onnx", size, scale=1.0)
    steps = PrePostProcessor(ov.Core().read_model(plain))
    steps.input().tensor().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().scale(255.0)
    (folder / "ir").mkdir()
    ov.save_model(steps.build(), folder / "ir" / "model.xml", False)
    return folder / "ir" / "model.xml"


def _keras(checkpoint: Checkpoint, size: tuple[int, int], module: str) -> Any:
    from u2net_zoo import keras_model

    keras = keras_model.load_keras_module(module)
    network = keras_model.build(checkpoint, size=size, outputs="mask", module=module)
    image = keras.layers.Input((*size, 3), name="photo")
    deviations = np.square(np.asarray(IMAGENET_STD))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Normalization(mean=list(IMAGENET_MEAN), variance=deviations.tolist())(x)
    return keras.Model(image, network(x))


def tflite(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    import tensorflow as tf

    path = folder / "pixels.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(_keras(checkpoint, size, "tf_keras")).convert())
    return path


def keras(module: str, suffix: str) -> Recipe:
    def write(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
        path = folder / f"pixels{suffix}"
        _keras(checkpoint, size, module).save(str(path))
        return path

    return write


def savedmodel(checkpoint: Checkpoint, folder: Path, size: tuple[int, int]) -> Path:
    import tensorflow as tf

    model = _keras(checkpoint, size, "tf_keras")
    module = tf.Module()
    module.model = model
    spec = tf.TensorSpec((1, *size, 3), tf.float32, name="photo")
    module.run = tf.function(lambda photo: {"out": model(photo, training=False)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "pixels_savedmodel"), signatures={"serving_default": module.run})
    return folder / "pixels_savedmodel"


# By (format, name): what writes the file, and what it takes.
RECIPES: dict[tuple[str, str], tuple[Recipe, str]] = {
    ("onnx", "of pixels"): (onnx_of_pixels, "pixels"),
    ("onnx", "of fractions"): (onnx_of_fractions, "unit"),
    ("onnx", "of pixels, blue first"): (onnx_of_bgr, "pixels-bgr"),
    ("onnx", "of bytes, channels last"): (onnx_of_bytes, "pixels"),
    ("torchscript", "of pixels"): (torchscript, "pixels"),
    ("coreml", "a picture, RGB"): (coreml("RGB"), "pixels"),
    ("coreml", "a picture, BGR"): (coreml("BGR"), "pixels"),
    ("coreml", "a tensor of pixels"): (coreml("tensor"), "pixels"),
    ("coreml", "a picture in, grey levels out"): (coreml("RGB", grey=True), "pixels"),
    ("coreml", "a picture as it is in, grey levels out"): (coreml("inside", grey=True), "pixels"),
    ("mlmodel", "a picture as it is in, grey levels out"): (coreml("inside", "mlmodel", grey=True), "pixels"),
    ("mlmodel", "a scaler, RGB"): (coreml("RGB", "mlmodel"), "pixels"),
    ("mlmodel", "a scaler, BGR"): (coreml("BGR", "mlmodel"), "pixels"),
    ("mlmodel", "a scaler, grey levels out"): (coreml("RGB", "mlmodel", grey=True), "pixels"),
    ("keras", "Rescaling and Normalization"): (keras("keras", ".keras"), "pixels"),
    ("h5", "Rescaling and Normalization"): (keras("tf_keras", ".h5"), "pixels"),
    ("openvino", "scale_values"): (openvino, "pixels"),
    ("tflite", "Rescaling and Normalization"): (tflite, "pixels"),
    ("savedmodel", "Rescaling and Normalization"): (savedmodel, "pixels"),
}

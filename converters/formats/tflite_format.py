"""`tflite`: from the folded Keras model; in integers, written from the walk in `arch`; or by another's converter."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature
from u2net_zoo.errors import OptionError
from u2net_zoo.weight_words import names_in, own_words

from ..embedded import embedded_of, notes_of
from ..format import Lane
from ..mask_errors import MaskBound
from ..memory import release_memory
from ..options import DEFAULT_SIZE, W8A8, Options
from ..predictor import Predictor
from ..quantise.integer_search import plan_integer_network
from ..quantise.mixed_precision import Plan, plan_weights
from ..quantise.tflite_weights import stored
from . import tflite_reader
from .kotlin import kotlin_file, kotlin_name
from .litert_torch_route import convert_with_litert_torch
from .onnx2tf_route import convert_with_onnx2tf
from .tensorflow_format import TensorFlowFormat, save_model
from .tflite_graph import integer_bytes
from .tflite_metadata import notes, with_notes
from .tflite_runtime import TFLiteRuntime

__all__ = ["TFLite"]


class TFLite(TensorFlowFormat):
    name = "tflite"
    title = "TFLite"
    suffix = ".tflite"
    unit_bytes, writing_seconds = 860, 12
    companion = ".kt"
    signature = Signature(re.compile(rb".{4}TFL3", re.S))
    extra = "tflite"
    packages = ("torch", "tensorflow", "tf_keras", "ai_edge_litert")
    running = ("ai_edge_litert",)
    lanes = (Lane("TFLite (XNNPACK)"),)
    choices = {
        "batch": (1,),
        "precision": ("fp32", "fp16", "int8", W8A8),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "via": ("native", "onnx2tf", "litert-torch"),
    }
    # int8 measured on u2netp and 18 photographs that are not calibrated on, 2026-11-21: 0.9928, worst 0.9807, 0.0016.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
        W8A8: MaskBound(iou=0.985, worst=0.95, mae=0.01),  # u2netp, 2026-11-26: 0.9855, 0.9623, 0.0039; see UNSEEN
    }

    def settle(self, asked: Options) -> Options:
        settled = super().settle(asked)
        alone = ("fp32",) if settled.via == "litert-torch" else ("fp32", "fp16")
        if settled.precision not in alone and settled.via != "native":
            raise OptionError(f"--precision {settled.precision} goes with --via native")
        return settled

    def check_image(self, chosen: Options) -> None:
        super().check_image(chosen)
        if chosen.precision == W8A8 and chosen.stretch:
            raise OptionError(f"--minmax divides, which --precision {W8A8} cannot; leave it out, and stretch the mask")

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        super().check(checkpoint, options)
        if options.precision == W8A8 and options.io == "image" and not _answers_probability(checkpoint.arch):
            raise OptionError(f"--precision {W8A8} --io image: the network answers no probability; take --io tensor")

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        embedded = embedded_of(checkpoint.arch, options)
        words = {**own_words(checkpoint.meta), **notes_of(options, embedded)}
        if options.precision == W8A8:
            network, plan = plan_integer_network(checkpoint, options, self.bounds[W8A8], embedded)
            path.write_bytes(integer_bytes(network, options, words))
            return plan
        if options.via == "onnx2tf":
            convert_with_onnx2tf(checkpoint, path, options, tflite=True)
            return None
        if options.via == "litert-torch":
            convert_with_litert_torch(checkpoint, path, options)
            return None
        found = None
        if options.precision == "int8":
            found = plan_weights(checkpoint, options, self.bounds["int8"], half=False)
            checkpoint = found.checkpoint
        content = _converted(checkpoint, path.parent / "savedmodel", options)
        content = stored(content) if found else content
        path.write_bytes(with_notes(content, words) if words else content)
        return found

    def companions(self, target: Path, checkpoint: Checkpoint, options: Options) -> dict[Path, str]:
        """A Kotlin file that calls the model, for models of pictures."""
        embedded = embedded_of(checkpoint.arch, options)
        if embedded is None:
            return {}
        stem = target.name.removesuffix(self.suffix)
        text = kotlin_file(stem, embedded, options.size or DEFAULT_SIZE, names_in(checkpoint.meta))
        return {target.with_name(kotlin_name(stem)): text}

    def open(self, path: Path) -> Predictor:
        return TFLiteRuntime(path)

    def words_in(self, path: Path) -> Mapping[str, str]:
        return notes(np.memmap(path, mode="r"))

    def read(self, path: Path) -> Checkpoint:
        return tflite_reader.read(path)

    def remarks(self, options: Options) -> list[str]:
        if options.precision == W8A8 and options.io == "image":
            return [
                "in integers nothing is divided: 255 is taken for the brightest pixel, and the mask is not stretched"
            ]
        return []


def _converted(checkpoint: Checkpoint, saved: Path, options: Options) -> bytes:
    """By TensorFlow's own converter, through a SavedModel at `saved`."""
    import tensorflow as tf

    save_model(checkpoint, saved, options)
    release_memory()  # the Keras model, whose cycles would live through the conversion
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=["serving_default"])
    converter.exclude_conversion_metadata = True  # it would unpack and pack the whole file once more
    if options.precision == "fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    content: bytes = converter.convert()
    return content


def _answers_probability(arch: Architecture) -> bool:
    return arch.final == "sigmoid" and arch.out_ch == 1

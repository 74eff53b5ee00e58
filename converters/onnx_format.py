"""`onnx`: exported by Torch from the folded model, run by onnxruntime."""

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, OptionError, one_line
from u2net_zoo.limits import processors

from . import onnx_reader
from .baking import baking_of, metadata_of, read_baking, read_precision, torch_module
from .base import DYNAMIC, Format, MaskBound, Options, Predictor, output_names
from .layout import channels_first, check_input, input_layout, is_channels_last
from .quantise.onnx_plan import int8
from .quantise.plan import Plan

__all__ = ["Onnx", "Runtime"]

CPU = ("CPUExecutionProvider",)
PER_CHANNEL = 13  # the opset in which scales per channel came
OPSETS = (17, 11, 12, 13, 14, 15, 16, 18, 19, 20)


class Onnx(Format):
    name = "onnx"
    title = "ONNX"
    suffix = ".onnx"
    extra = "onnx"
    packages = ("torch", "onnx", "onnxruntime")
    choices = {
        "batch": (DYNAMIC,),
        "precision": ("fp32", "fp16", "int8"),
        "outputs": ("mask", "all"),
        "io": ("tensor", "image"),
        "opset": OPSETS,
        "via": ("native",),
    }
    # int8 measured on u2netp and 18 photographs that are not calibrated on, 2026-11-21: 0.9874, worst 0.9607, 0.0024.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.985, worst=0.96, mae=0.008),
    }

    def settle(self, asked: Options) -> Options:
        settled = super().settle(asked)
        if settled.precision == "int8" and (settled.opset or 0) < PER_CHANNEL:
            raise OptionError(f"--precision int8 needs --opset {PER_CHANNEL} or later (scales per channel)")
        return settled

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        import onnx

        plan = None
        if options.precision == "int8":
            export = partial(_exported, path=path)
            model, plan = int8(checkpoint, options, self.bounds["int8"], export)
        else:
            model = _exported(checkpoint, options, path)
        model = _to_half(model) if options.precision == "fp16" else model
        onnx.helper.set_model_props(model, metadata_of(checkpoint, options))
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return plan

    def run(self, path: Path) -> Predictor:
        return Runtime(path)

    def read(self, path: Path) -> Checkpoint:
        return onnx_reader.read(path)


def _exported(checkpoint: Checkpoint, options: Options, path: Path) -> Any:
    """The model in float32; `path` holds it on the way."""
    import onnx
    import torch

    arch = checkpoint.arch
    names = list(output_names(arch, options))
    kind = torch.uint8 if options.io == "image" else torch.float32
    sample = torch.zeros(options.batch or 1, arch.in_ch, *(options.size or ()), dtype=kind)
    axes = {name: {0: "batch"} for name in ("image", *names)} if options.batch == DYNAMIC else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every size that is a constant, which is the aim
        torch.onnx.export(
            exportable(checkpoint, options),
            (sample,),
            str(path),
            input_names=["image"],
            output_names=names,
            dynamic_axes=axes,
            opset_version=options.opset,
            dynamo=False,
        )
    return onnx.load(str(path))


def exportable(checkpoint: Checkpoint, options: Options, *, eight_bits: bool = True) -> Any:
    """The folded Torch model that tracing exporters take; with its profile around it for `--io image`."""
    from u2net_zoo import torch_model

    model = torch_model.build(checkpoint.fold(), outputs="all" if options.outputs == "all" else "mask")
    baking = baking_of(checkpoint.arch, options)
    return torch_module(model, baking, eight_bits=eight_bits) if baking else model


def _to_half(model: Any) -> Any:
    """Weights and arithmetic in float16; float32 still goes in and comes out."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(model, keep_io_types=True, op_block_list=[]))
    half.topological_sort()  # the converter appends its casts at the end
    return half.model


class Runtime(Predictor):
    """An ONNX file in onnxruntime; `providers` are onnxruntime's names, with options where they have some."""

    def __init__(self, path: Path, providers: Sequence[Any] = CPU):
        import onnxruntime

        self.path, self.providers = path, list(providers)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.options = options
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=self.providers)
        except Exception as error:  # onnxruntime raises types of its own for every kind of damage
            raise ArtifactError(f"{path}: onnxruntime cannot load it ({one_line(error)})") from None
        given = self.session.get_inputs()
        words = self.session.get_modelmeta().custom_metadata_map
        self.baking, self.precision = read_baking(words), read_precision(words)
        allowed = ("tensor(uint8)",) if self.baking else ("tensor(float)", "tensor(uint8)")
        if len(given) != 1 or given[0].type not in allowed:
            kinds = ", ".join(f"{item.name} {item.type}" for item in given) or "none"
            raise ArtifactError(f"{path}: its inputs are {kinds}; one of {' or '.join(allowed)} is needed")
        self.bytes = given[0].type == "tensor(uint8)"  # without a profile: pixels in 0..255, which are rounded
        self.last = is_channels_last(given[0].shape)  # another maker's file may come from TensorFlow
        self.batch, self.size = input_layout(given[0].shape, path, channels_last=self.last)
        answers = self.session.get_outputs()
        if self.baking is None and any(answer.type == "tensor(uint8)" for answer in answers):
            raise ArtifactError(f"{path}: answers pictures, and does not say which profile is in its graph")
        self.outputs = tuple(answer.name for answer in answers)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        name = self.session.get_inputs()[0].name
        maps = self.session.run(None, {name: self._laid_out(x)})
        return {name: channels_first(m, self.last) for name, m in zip(self.outputs, maps, strict=True)}

    def share(self, lanes: int) -> int:
        """Each call on its part of the processors: the results are the same, and nobody waits for the others' threads.

        On two processors, 18 photographs and u2netp took a sixth less processor time than with both in each call.
        """
        import onnxruntime

        self.options.intra_op_num_threads = max(1, processors() // lanes)
        # threads that wait by spinning would take the processors from those who decode
        self.options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(self.path), self.options, providers=self.providers)
        return lanes

    def _laid_out(self, x: np.ndarray) -> np.ndarray:
        x = np.rint(x).clip(0, 255).astype(np.uint8) if self.bytes else x
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if self.last else x

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """Convolutions in the order in which the units run, each behind its norm and its ReLU."""
        import onnx
        import onnxruntime

        values = onnx_reader.activations(self.path)
        model = onnx.load(str(self.path))
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            return iter(())  # its maps are equalised, so they are others than the network's
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)  # onnxruntime works out the types
        session = onnxruntime.InferenceSession(model.SerializeToString(), self.options, providers=self.providers)
        results = session.run(values, {session.get_inputs()[0].name: self._laid_out(x)})
        return iter([(unit.path, value.astype(np.float32)) for unit, value in zip(arch.units(), results, strict=False)])

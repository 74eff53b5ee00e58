"""`coreml`: an ML Program package (iOS 15 or later), converted by coremltools from the folded Torch model."""

import functools
import logging
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, OptionError, one_line
from u2net_zoo.system import has_core_ml
from u2net_zoo.weight_words import names_in

from .. import mil
from ..embedded import embedded_of, metadata_of, read_embedded, read_multiple, read_precision, read_takes
from ..mask_errors import EIGHT_BITS, MaskBound
from ..mil.features import Feature, ImageFeature
from ..options import Options, output_names
from ..parity_report import Report
from ..predictor import Predictor
from ..quantise.coreml_weights import compressed
from ..quantise.mixed_precision import Plan, plan_weights
from ..quantise.rounding import BITS
from . import coreml_reader
from .coreml_metadata import CoreMLWords, describe_package
from .layout import NCHW, Layout, check_input
from .swift import swift_file, swift_name
from .traced_torch import exportable

if TYPE_CHECKING:
    from ..mil.evaluator import Machine

__all__ = ["UNITS", "CoreML", "PictureOrTensor", "converted", "coremltools"]

# coremltools.ComputeUnit, the exact one last, of which the report speaks. Apple documents that float32 programs are
# computed in float32 on the CPU and the GPU, never on the Neural Engine ("Typed Execution" in coremltools' guide).
# Nothing was run on a Mac yet, so all but the CPU are held to fp16's bounds.
UNITS = ("ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY")
EXACT = "CPU_ONLY"
TARGETS = ("iOS16", "iOS15", "iOS17", "iOS18")


class CoreML(CoreMLWords):
    name = "coreml"
    title = "Core ML package"
    suffix = ".mlpackage"
    unit_bytes, writing_seconds = 2170, 18
    is_folder = True
    marker = "Manifest.json"
    companion = ".swift"
    own_notes = ("com.apple.coreml.",)
    extra = "coreml"
    packages = ("torch", "coremltools")
    legacy = "mlmodel"
    choices = {
        "batch": (1,),
        "precision": ("fp32", "fp16", *BITS),
        "outputs": ("mask", "all"),
        "io": ("image", "tensor"),
        "target": TARGETS,
        "via": ("native",),
    }
    flexible = True
    # Measured on u2netp and 18 photographs that are not calibrated on, 2026-11-21: docs/quantisation.md. Weights that
    # are not on float16's grid lose up to 0.008 by that alone, so fp16 is not held to the 0.997 of those that are.
    bounds = {
        "fp16": MaskBound(iou=0.990, worst=0.975, mae=0.003),
        "int8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
        "palette8": MaskBound(iou=0.990, worst=0.975, mae=0.005),
        "palette6": MaskBound(iou=0.985, worst=0.96, mae=0.01),
        "palette4": MaskBound(iou=0.95, worst=0.90, mae=0.03),
    }

    def settle(self, asked: Options) -> Options:
        """As every format; without a `target` the lowest: iOS 16 has grey pictures as outputs, and few bits."""
        settled = super().settle(asked)
        lowest = "iOS16" if settled.io == "image" or settled.precision in BITS else "iOS15"
        if asked.target is None:
            return replace(settled, target=lowest)
        if asked.target == "iOS15" and settled.precision in BITS:
            raise OptionError(f"--precision {settled.precision} needs --target iOS16 or later; iOS 15 lacks it")
        return settled

    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> Plan | None:
        ct = coremltools()
        plan = None
        if options.precision in BITS:
            plan = plan_weights(checkpoint, options, self.bounds[options.precision], half=True)
            checkpoint = plan.checkpoint
        package = converted(
            checkpoint,
            options,
            convert_to="mlprogram",
            compute_precision=ct.precision.FLOAT32 if options.precision == "fp32" else ct.precision.FLOAT16,
            minimum_deployment_target=getattr(ct.target, options.target or ""),
        )
        package = compressed(package, plan) if plan else package
        package.user_defined_metadata.update(metadata_of(checkpoint, options))
        package.save(str(path))
        return plan

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
        describe_package(path, checkpoint, options, report)

    def companions(self, target: Path, checkpoint: Checkpoint, options: Options) -> dict[Path, str]:
        """A Swift file that calls the model, for packages of pictures."""
        embedded = embedded_of(checkpoint.arch, options)
        if embedded is None:
            return {}
        stem = target.name.removesuffix(self.suffix)
        half, names = options.precision != "fp32", names_in(checkpoint.meta)
        text = swift_file(stem, embedded, target=options.target or TARGETS[0], half=half, names=names)
        return {target.with_name(swift_name(stem)): text}

    def remarks(self, options: Options) -> list[str]:
        if options.target == "iOS15" and options.io == "image":
            return ["iOS 15 has no grey pictures as outputs: the mask comes out as a multi-array of grey levels"]
        return []

    def read(self, path: Path) -> Checkpoint:
        return coreml_reader.read(path)

    def evaluated(self) -> bool:
        return not has_core_ml()

    def open(self, path: Path) -> Predictor:
        """Core ML itself on macOS, float32 on the CPU, where it is exact; elsewhere the program, op by op."""
        return _OnDevice(path) if has_core_ml() else _Evaluated(path)

    def proofs(self, path: Path) -> Iterator[Predictor]:
        """The evaluator, and on macOS Core ML on each kind of compute units."""
        yield _Evaluated(path)
        if has_core_ml():
            yield from (_OnDevice(path, units) for units in UNITS)


def converted(checkpoint: Checkpoint, options: Options, **how: Any) -> Any:
    """A coremltools model of the folded network; `how`: what `coremltools.convert` takes beside inputs and outputs."""
    import torch

    ct = coremltools()
    model = exportable(checkpoint, options, eight_bits=False)  # to the program a picture is float
    sample = torch.zeros(options.batch or 1, checkpoint.arch.in_ch, *(options.size or ()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ct.convert(
            torch.jit.trace(model, sample, check_trace=False),
            inputs=[_input(ct, checkpoint.arch.in_ch, options)],
            outputs=_outputs(ct, checkpoint.arch, options),
            skip_model_load=True,
            **how,
        )


def _input(ct: Any, channels: int, options: Options) -> Any:
    """The program's input `image`: a picture in RGB order, or the normalised tensor; of one, several or many sizes."""
    shape: Any = (options.batch or 1, channels, *(options.size or ()))
    if options.sizes:
        shapes = [(options.batch or 1, channels, *size) for size in options.sizes]
        shape = ct.EnumeratedShapes(shapes=shapes, default=shape)
    elif options.span:
        low, high = options.span
        sides = [ct.RangeDim(a, b, default=d) for a, b, d in zip(low, high, options.size or (), strict=True)]
        shape = ct.Shape((options.batch or 1, channels, *sides))
    if options.io == "image":
        return ct.ImageType(name="image", shape=shape, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name="image", shape=shape, dtype=np.float32)


def _outputs(ct: Any, arch: Architecture, options: Options) -> list[Any]:
    if options.io == "image" and arch.out_ch == 1 and options.target != "iOS15":
        return [ct.ImageType(name="mask", color_layout=ct.colorlayout.GRAYSCALE)]
    kind = np.int32 if options.io == "image" and arch.out_ch > 1 else np.float32
    return [ct.TensorType(name=name, dtype=kind) for name in output_names(arch, options)]


class PictureOrTensor(Predictor):
    """A Core ML model that takes tensors, or pictures.

    Of another maker's model for pictures nobody knows which profile is in its graph: it is one that takes pixels in
    0..255, float32 (1, 3, H, W) in RGB order, which are rounded. Grey pictures that it answers are masks in [0, 1].
    """

    def __init__(
        self, path: Path, inputs: Mapping[str, Feature], outputs: Mapping[str, Feature], metadata: Mapping[str, str]
    ):
        self.outputs = tuple(outputs)
        if len(inputs) != 1 or not self.outputs:
            found = f"{len(inputs)} inputs and {len(self.outputs)} outputs"
            raise ArtifactError(f"{path}: has {found}; a U²-Net has one input and at least one output")
        ((self.input, feature),) = inputs.items()
        self.embedded, self.precision = read_embedded(metadata), read_precision(metadata)
        self.grey = self._grey(path, outputs)
        self.stated = read_takes(metadata)
        self.picture = isinstance(feature, ImageFeature)
        shape = (1, 3, *feature.sizes.default) if self.picture else feature.sizes.default
        self.layout = NCHW if self.picture else Layout.of(shape, NCHW)
        self.batch, self.default = self.layout.sizes(shape, path)
        self.channels = self.layout.channels(shape)
        self.size = None if feature.sizes.flexible else self.default
        self.multiple = read_multiple(metadata) if feature.sizes.ranges else 1

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        check_input(self, x)
        answers = self.answers(self.given(x))
        if self.embedded:
            return {"mask": _levels(answers[self.outputs[0]])}
        return {name: self._map(name, answer) for name, answer in answers.items()}

    def _grey(self, path: Path, outputs: Mapping[str, Feature]) -> frozenset[str]:
        """Outputs of another maker's model that are masks as grey pictures; then it is as precise as 8 bits are."""
        pictures = {name for name, output in outputs.items() if isinstance(output, ImageFeature)}
        if self.embedded or not pictures:
            return frozenset()
        for name in pictures:
            if (colour := outputs[name].colour) != "grayscale":  # type: ignore[attr-defined]
                raise ArtifactError(f"{path}: answers {name!r} as a picture ({colour}); a mask is grayscale, of 8 bits")
        self.precision = self.precision or EIGHT_BITS
        return frozenset(pictures)

    def _map(self, name: str, answer: np.ndarray) -> np.ndarray:
        grey = name in self.grey
        return (answer / np.float32(255))[None, None] if grey else self.layout.answered(answer)

    def given(self, x: np.ndarray) -> np.ndarray:
        """What the model itself takes: a picture (H, W, 3), uint8, or the tensor."""
        if not self.picture:
            return self.layout.given(x)
        return np.ascontiguousarray(np.rint(x[0]).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))

    @abstractmethod
    def answers(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """What the model answers, as it is: a tensor (N, C, H, W), or a picture (H, W, 3), in."""


class _Evaluated(PictureOrTensor):
    def __init__(self, path: Path):
        self.package = mil.Package.open(path)
        super().__init__(path, self.package.inputs, self.package.outputs, self.package.metadata)

    @functools.cached_property
    def machine(self) -> "Machine":
        from ..mil.evaluator import Machine

        return Machine(self.package)

    def answers(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return self.machine.evaluate({self.input: image})

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        wanted = coreml_reader.program(self.machine.function, self.machine.constants).activations()
        values = self.machine.evaluate({self.input: self.given(x)}, taps=wanted)
        pairs = zip(arch.units(), wanted, strict=False)
        return iter([(unit.path, values[name].astype(np.float32)) for unit, name in pairs])


class _OnDevice(_Evaluated):
    """Run by Core ML itself, on the compute units of that name; without one a reduced package on all of them."""

    def __init__(self, path: Path, units: str | None = None):
        super().__init__(path)
        units = units or (EXACT if self.precision in (None, EIGHT_BITS) else "ALL")
        self.computes = "" if units == EXACT else "fp16"
        self.model = loaded(path, units)

    def answers(self, image: np.ndarray) -> dict[str, np.ndarray]:
        given = Image.fromarray(image) if self.picture else image
        return {name: np.asarray(answer) for name, answer in self.model.predict({self.input: given}).items()}


def loaded(path: Path, units: str) -> Any:
    """coremltools' model of a package, loaded by Core ML on the compute units of that name. Raises ArtifactError."""
    ct = coremltools()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # that is how coremltools says that Core ML refused it
            return ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[units])
    except Exception as error:  # coremltools wraps Apple's errors in RuntimeError and others
        raise ArtifactError(f"{path}: Core ML cannot load it on {units} ({one_line(error)})") from None


def _levels(mask: np.ndarray) -> np.ndarray:
    """(1, 1, H, W) uint8 of a greyscale image (H, W), or of a multi-array (1, 1, H, W) of grey levels or classes."""
    return np.rint(np.clip(mask, 0, 255)).astype(np.uint8).reshape(1, 1, *mask.shape[-2:])


def coremltools() -> Any:
    """coremltools, without its advice on the versions of other packages."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools as package

    return package

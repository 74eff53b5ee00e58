"""What `u2net_zoo` exports: a source in, a Torch model, a Keras model or a photograph-to-mask session out."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import Checkpoint
from .conventions import NORMALISED, InputConvention
from .errors import MissingExtraError, OptionError, UnknownNameError
from .preprocessing import Profile, get_profile
from .session import MaskSession
from .sources import Located, locate
from .system import scratch_folder

if TYPE_CHECKING:
    from converters import Format, Predictor

    from .torch_model import U2Net

__all__ = ["Session", "load_keras", "load_torch", "run_converted"]


def load_torch(source: str | Path | Checkpoint, *, outputs: str = "all", fold: bool = False) -> "U2Net":
    """The native Torch model of some weights, on the CPU, in evaluation mode.

    Args:
        source: a weight file, a converted model of any format (its weights are read, it is not run), a name in the
            catalog, or a checkpoint.
        outputs: `"all"`: (d0, …, d6), as the authors' class; `"mask"`: d0 alone in evaluation.
        fold: fold batch norm for inference.

    Raises:
        InputError: the source cannot be used. MissingExtraError: Torch is not installed.
    """
    checkpoint = _checkpoint(source)
    try:
        from . import torch_model
    except ModuleNotFoundError:
        raise MissingExtraError("the Torch model", "torch", "torch") from None
    return torch_model.build(checkpoint.fold() if fold else checkpoint, outputs=outputs)


def load_keras(
    source: str | Path | Checkpoint,
    *,
    size: tuple[int, int] | None = None,
    outputs: str = "all",
    module: str = "keras",
) -> Any:
    """The native Keras model of some weights: a `keras.Model`, or a `tf_keras.Model` with `module="tf_keras"`.

    Args:
        source: see `load_torch`.
        size: (H, W); None builds a model for any size. See `keras_model.build`.

    Raises:
        InputError: the source cannot be used. MissingExtraError: Keras is not installed.
    """
    from . import keras_model

    return keras_model.build(_checkpoint(source), size=size, outputs=outputs, module=module)


class Session(MaskSession):
    """Photograph in, mask out: `Session("u2netp.onnx").mask(image)`.

    Args:
        source: a weight file (runs in Torch; without Torch, one of safetensors in onnxruntime), an artifact of any
            format, a name in the catalog, or a checkpoint.
        profile: a name in `PROFILES`; by default the one that belongs to the catalog's weights, otherwise `paper`.
        runtime: a format's name: a weight file, or weights that the catalog names, are converted to it first, at the
            profile's size, into a temporary folder; an artifact must already be of that format. `torch`: the weights
            are read from the file, whatever it is, and run in Torch.
        takes: what an artifact wants of a photograph, a name in `INPUTS`; by default what its metadata says (ONNX,
            Core ML), or what is found out by running it beside its own weights, once for each file.

    Raises:
        InputError: the source cannot be used. UsageError: unknown profile or runtime, a package is missing.
    """

    def __init__(
        self,
        source: str | Path | Checkpoint,
        *,
        profile: str | None = None,
        runtime: str | None = None,
        takes: str | None = None,
    ):
        chosen = get_profile(profile) if profile else None
        located = source if isinstance(source, Checkpoint) else locate(source)
        if isinstance(located, Located):
            chosen = chosen or get_profile(located.profile or "paper")
        chosen = chosen or get_profile("paper")
        predictor, convention = _predictor(located, runtime, chosen, takes)
        super().__init__(predictor, chosen, takes=convention)


def _predictor(
    source: Located | Checkpoint, runtime: str | None, profile: Profile, takes: str | None
) -> "tuple[Predictor, InputConvention]":
    from converters.loading import format_of
    from converters.registry import FORMATS
    from converters.torch_predictor import TorchPredictor

    if runtime not in (None, "torch", *FORMATS):
        raise UnknownNameError("runtime", str(runtime), ["torch", *FORMATS])
    wanted = FORMATS.get(runtime or "")
    found = format_of(source.path) if isinstance(source, Located) else None
    if isinstance(source, Located) and found and runtime != "torch" and found.has_graph:
        if wanted in (None, found):
            from converters.verify.known_inputs import input_of

            found.require_running()
            predictor = found.run(source.path)
            return predictor, input_of(found, source.path, predictor, profile, takes)
        if source.entry is None:
            raise OptionError(f"{source.path} is {found.title}: --runtime {found.name} runs it, {runtime} does not")
    if takes is not None:
        raise OptionError(
            f"--input {takes}: goes with a converted model that runs in its own runtime, not with weights"
        )
    checkpoint = _checkpoint(source.path if isinstance(source, Located) else source)
    size = (profile.size, profile.size)
    if not find_spec("torch") and (wanted is None or wanted.direct) and runtime != "torch":
        return _run_directly(checkpoint, wanted, size), NORMALISED
    if wanted is None:
        return TorchPredictor(checkpoint, fold=True), NORMALISED
    wanted.require()
    return run_converted(checkpoint, wanted, size), NORMALISED


def _run_directly(checkpoint: Checkpoint, wanted: "Format | None", size: tuple[int, int]) -> "Predictor":
    """Weights where Torch is not installed: in the first runtime that takes them without a file."""
    from converters import Options
    from converters.registry import FORMATS

    direct = [wanted] if wanted else [fmt for fmt in FORMATS.values() if fmt.direct]
    fmt = next((fmt for fmt in direct if fmt.can_run()), direct[0])
    fmt.require_running()
    return fmt.run_weights(checkpoint, fmt.settle(Options(size=size)))


def run_converted(checkpoint: Checkpoint, fmt: "Format", size: tuple[int, int]) -> "Predictor":
    """`checkpoint` in a format's own runtime: converted in a temporary folder, proof included, which goes with it.

    Args:
        size: (H, W) that it is written for; no profile goes into its graph.
    """
    from converters import Options, convert

    options = Options(size=size, io="tensor" if "tensor" in fmt.choices.get("io", ()) else None)
    folder = scratch_folder()
    predictor = fmt.run(convert(checkpoint, [fmt.name], folder.name, options=options)[0].path)
    predictor.scratch = folder
    return predictor


def _checkpoint(source: str | Path | Checkpoint) -> Checkpoint:
    from converters.loading import read_source

    return source if isinstance(source, Checkpoint) else read_source(locate(source).path)

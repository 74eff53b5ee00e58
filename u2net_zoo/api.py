"""What `u2net_zoo` exports: a source in, a Torch model, a Keras model or a photograph-to-mask session out."""

import contextlib
import functools
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import Checkpoint
from .conventions import NORMALISED, InputConvention
from .devices import AUTO, BY_PREFERENCE, CPU, get_device
from .errors import MissingExtraError, OptionError, U2ZooError
from .preprocessing import Profile, get_profile, profile_for
from .session import MaskSession
from .sources import Located, locate

if TYPE_CHECKING:
    from converters import Format, Predictor
    from converters.engines import Candidate, Choice, Weights

    from .torch_model import U2Net

__all__ = ["Session", "load_keras", "load_torch"]


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
        source: a weight file, an artifact of any format, a name in the catalog, or a checkpoint.
        profile: a name in `PROFILES`; by default the one that belongs to the catalog's weights or that the file names,
            otherwise `paper`.
        runtime: `auto`: an artifact runs in its own runtime; weights, and what the catalog names, run in the fastest
            one that is installed, which is tried once for each architecture and size and kept in the cache (`u2zoo
            engines`). A format's name: weights, and what the catalog names, are converted to it once, at the profile's
            size, and kept there too; an artifact must already be of that format. `torch`: the weights are read
            from the file, whatever it is, and run in Torch.
        takes: what an artifact wants of a photograph, a name in `INPUTS`; by default what its metadata says (ONNX,
            Core ML), or what is found out by running it beside its own weights, once for each file.
        device: a name in `u2net_zoo.devices.DEVICES`, or `auto`: the first of `BY_PREFERENCE` that is here. What is
            asked for by its name and is not here is an error, never another device.

    Attributes:
        engine: what runs it, on which device; `str(engine)` is a line for people.

    Raises:
        InputError: the source cannot be used. UsageError: unknown profile, runtime or device, the runtime cannot take
            the device, a package is missing.
    """

    def __init__(
        self,
        source: str | Path | Checkpoint,
        *,
        profile: str | None = None,
        runtime: str | None = AUTO,
        takes: str | None = None,
        device: str = CPU,
    ):
        if profile:
            get_profile(profile)  # before a download, not after it
        located = source if isinstance(source, Checkpoint) else locate(source)
        chosen = _profile_of(located, profile)
        opened = _opened(located, runtime or AUTO, chosen, takes, get_device(device))
        self.engine = opened.engine
        super().__init__(opened.predictor, chosen, takes=opened.takes)


def _profile_of(source: Located | Checkpoint, named: str | None) -> Profile:
    """The profile that belongs to the weights, as far as anybody knows, or the named one; with their classes."""
    from converters.loading import words_in

    if isinstance(source, Checkpoint):
        return profile_for(source.meta, named)
    return profile_for(words_in(source.path), named or source.profile)


@dataclass(frozen=True)
class _Opened:
    predictor: "Predictor"
    engine: "Choice"
    takes: InputConvention = NORMALISED


def _opened(source: Located | Checkpoint, runtime: str, profile: Profile, takes: str | None, device: str) -> _Opened:
    """On `auto` the first device on which the source can be run."""
    if device != AUTO:
        return _opened_on(source, runtime, profile, takes, device)
    for each in BY_PREFERENCE[:-1]:
        with contextlib.suppress(U2ZooError):
            found = _opened_on(source, runtime, profile, takes, each)
            return replace(found, engine=replace(found.engine, new=True))
    found = _opened_on(source, runtime, profile, takes, CPU)
    why = "no other device that can run it was found"
    return replace(found, engine=replace(found.engine, new=True, why=found.engine.why or why))


def _opened_on(source: Located | Checkpoint, runtime: str, profile: Profile, takes: str | None, device: str) -> _Opened:
    from converters.engines import Choice, computes_its_weights, runtime_named
    from converters.loading import format_of

    runtime = runtime_named(runtime)
    size = (profile.size, profile.size)
    found = format_of(source.path) if isinstance(source, Located) else None
    if isinstance(source, Located) and found and runtime != "torch" and found.has_graph:
        named = source.entry is not None and runtime == AUTO and takes is None
        raced = named and computes_its_weights(source.path, _digest(source.path), size)
        if not raced and runtime in (AUTO, found.name):
            return _file(source.path, found, profile, takes, device)
        if source.entry is None:
            raise OptionError(f"{source.path} is {found.title}: --runtime {found.name} runs it, {runtime} does not")
    if takes is not None:
        raise OptionError(
            f"--input {takes}: goes with a converted model that runs in its own runtime, not with weights"
        )
    weights = _weights(source)
    if runtime == AUTO:
        from converters.engines import open_engine

        return _Opened(*open_engine(weights, profile, size, device))
    return _Opened(_asked(weights, runtime, size, device), Choice.of(runtime, device))


def _file(path: Path, fmt: "Format", profile: Profile, takes: str | None, device: str) -> _Opened:
    """An artifact in its own runtime."""
    from converters.engines import Choice
    from converters.verify.known_inputs import input_of

    fmt.require_running()
    predictor = fmt.run(path, device)
    return _Opened(predictor, Choice.of(fmt.name, device), input_of(fmt, path, predictor, profile, takes))


def _weights(source: Located | Checkpoint) -> "Weights":
    from converters.engines import Weights
    from converters.loading import read_source

    if isinstance(source, Checkpoint):
        return Weights(source.digest, lambda: source)
    path = source.path
    return Weights(_digest(path), lambda: read_source(path), str(path))


def _digest(path: Path) -> str:
    """Of all files of a source; of the same ones once, however many devices are tried."""
    from converters.loading import format_of

    files = format_of(path).files(path)
    return _digest_of(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@functools.lru_cache(maxsize=1)
def _digest_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    from converters.loading import sha256_of_all

    return sha256_of_all([file for file, *_ in files])


def _asked(weights: "Weights", runtime: str, size: tuple[int, int], device: str) -> "Predictor":
    """Weights in the runtime that was asked for: Torch, or a format's own, for which they are converted once."""
    from converters.engines import candidate, open_asked

    wanted = candidate(runtime)
    if wanted.fmt is None:
        wanted.check(device)
        return wanted.of(weights.read(), device)
    proved = bool(find_spec("torch")) or not wanted.fmt.direct
    if proved:
        wanted.fmt.require()
        wanted.fmt.check_device(device)
    else:
        wanted.fmt.require_running()
    write = functools.partial(_write_proved, wanted.fmt) if proved else functools.partial(_write_to_run, wanted)
    return open_asked(weights, wanted, size, device, functools.partial(write, size), proved=proved)


def _write_proved(fmt: "Format", size: tuple[int, int], checkpoint: Checkpoint, folder: Path) -> Path:
    """As `u2zoo convert` writes it, proof included; no profile goes into its graph."""
    from converters import Options, convert

    options = Options(size=size, io="tensor" if "tensor" in fmt.choices.get("io", ()) else None)
    return convert(checkpoint, [fmt.name], folder, options=options)[0].path


def _write_to_run(wanted: "Candidate", size: tuple[int, int], checkpoint: Checkpoint, folder: Path) -> Path:
    wanted.write(checkpoint, path := wanted.file(folder), size)
    return path


def _checkpoint(source: str | Path | Checkpoint) -> Checkpoint:
    from converters.loading import read_source

    return source if isinstance(source, Checkpoint) else read_source(locate(source).path)

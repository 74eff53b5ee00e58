"""Which network a benchmark is of, at which size, and what the rows of the files that take part are called."""

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import InputError, U2ZooError

from ..isolated import open_isolated
from ..loading import read_source

__all__ = ["fixed_size", "one_network", "row_names"]


def one_network(weights: Sequence[Path], artifacts: Sequence[Path]) -> tuple[Path, Checkpoint]:
    """The weight file or, where there is none, the first artifact, and its weights: every row is compared with them.

    An artifact whose weights cannot be read stays: its row tells what it answers.

    Raises:
        InputError: several weight files, or an artifact of a network with other shapes.
    """
    if len(weights) > 1:
        raise InputError(
            f"{weights[0]}, {weights[1]}: a benchmark is of one network; name one file of weights, and artifacts of it"
        )
    path, *others = *weights, *artifacts
    checkpoint = read_source(path)
    for other in others:
        arch = _architecture(other)
        if arch and arch.state_shapes() != checkpoint.fold().arch.state_shapes():
            raise InputError(
                f"{other} is {_described(arch)}, {path} {_described(checkpoint.arch)}; a benchmark is of one network"
            )
    return path, checkpoint


def _architecture(path: Path) -> Architecture | None:
    """Of its weights, folded as converted models are."""
    with suppress(U2ZooError):
        return read_source(path).fold().arch
    return None


def fixed_size(artifacts: Iterable[Path]) -> tuple[int, int] | None:
    """(H, W) of the first artifact that takes one size alone; else the first that one is described with; else None."""
    default = None
    for path in artifacts:
        with suppress(U2ZooError), open_isolated(path) as predictor:
            if predictor.size:
                return predictor.size
            default = default or predictor.default
    return default


def row_names(paths: Sequence[Path], taken: Collection[str] = ()) -> list[str]:
    """The shortest endings of the paths that tell them apart, `u2netp.onnx` or `int8/u2netp.onnx`; none is `taken`."""
    whole = [Path(os.path.abspath(path)).parts for path in paths]

    def name(parts: tuple[str, ...]) -> str:
        for n in range(1, len(parts)):
            ending = os.path.join(*parts[-n:])
            if ending not in taken and sum(other[-n:] == parts[-n:] for other in whole) == 1:
                return ending
        return os.path.join(*parts)

    return [name(parts) for parts in whole]


def _described(arch: Architecture) -> str:
    return f"{arch.name} ({arch.parameters():,} parameters)"

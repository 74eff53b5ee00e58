"""Apple's own runtime for assets: that of macOS 27, or the one in the wheel of coreai-core, slow but by the same maker.

`coreai.runtime` takes macOS's framework where there is one. Elsewhere its wheel carries a runtime of its own, for the
processor alone and twenty times slower than Torch (u2net_nano at 320x320, 2026-11-27): a second opinion for tests.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.errors import ArtifactError, one_line
from u2net_zoo.streams import silent_output

__all__ = ["by_apple"]


def by_apple(path: Path, function: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What Apple's runtime answers: the outputs of a function of the asset, by name.

    Raises:
        ArtifactError: the runtime is not there for this system, or does not take the asset.
    """
    try:
        with silent_output(), silent_output(2):  # it tells what it loads
            return asyncio.run(_answered(path, function, inputs))
    except ImportError as error:
        raise ArtifactError(f"{path}: Core AI's runtime is not there for this system ({one_line(error)})") from None
    except Exception as error:  # the runtime's errors have no type of their own
        raise ArtifactError(f"{path}: Core AI cannot run it ({one_line(error)})") from None


async def _answered(path: Path, function: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray

    given: dict[str, Any] = {name: NDArray(np.ascontiguousarray(value)) for name, value in inputs.items()}
    async with AIModelAsset.load(path).executable() as model:
        answers = await model.load_function(function)(given)
        return {name: answer.numpy().copy() for name, answer in answers.items()}

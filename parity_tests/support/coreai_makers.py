"""Builds the cases of `coreai_cases` with Apple's authoring library, saves them, and runs them in its own runtime.

    python coreai_makers.py folder

A program of its own: the runtime's library may end a process, and prints. Writes `N.aimodel` and `N.npz` for the case
of that number: what the runtime answered, `output`; without it, where the runtime did not run it, `error`.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np


def built(build: Any, inputs: tuple[np.ndarray, ...], made: tuple[tuple[int, ...], Any], path: Path) -> Any:
    """The saved asset of one function: `x0, x1, … -> output`, which is of the shape and the type `made`."""
    import coreai.authoring as ca
    from coreai.authoring import dtype as types

    kinds = {np.dtype(n): getattr(types, n) for n in ("float32", "float16", "int32", "uint8", "int8", "uint32")}
    kinds[np.dtype(bool)] = types.bool_
    module = ca.Module.create()
    with module:
        specs = [ca.TensorSpec(each.shape, kinds[each.dtype], name=f"x{n}") for n, each in enumerate(inputs)]
        names = ", ".join(f"x{n}" for n in range(len(specs)))
        scope: dict[str, Any] = {"build": build, "ca": ca}
        exec(f"def main({names}):\n    return build(ca, {names})", scope)  # noqa: S102 - the library reads signatures
        main = scope["main"]
        main.__annotations__ = {f"x{n}": Annotated[ca.Value, spec] for n, spec in enumerate(specs)}
        main.__annotations__["return"] = Annotated[
            ca.Value, ca.TensorSpec(made[0], kinds[np.dtype(made[1])], name="output")
        ]
        ca.graph(main, provided_name="main")
    return ca.AIProgram(module).save_asset(path)


async def answered(asset: Any, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    from coreai.runtime import NDArray

    async with asset.executable() as model:
        function = model.load_function("main")
        answers = await function({f"x{n}": NDArray(np.ascontiguousarray(each)) for n, each in enumerate(inputs)})
        return next(iter(answers.values())).numpy().copy()


def main(folder: Path) -> None:
    from support.coreai_cases import CASES

    for number, (name, case) in enumerate(CASES.items()):
        found: dict[str, Any] = {}
        try:
            asset = built(case.build, case.inputs, case.made(), folder / f"{number}.aimodel")
            found["output"] = asyncio.run(answered(asset, case.inputs))
        except Exception as error:
            found = {"error": f"{name}: {type(error).__name__}: {error}"}
        np.savez(folder / f"{number}.npz", **found)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(Path(sys.argv[1]))

"""`u2zoo train --check`."""

from typing import TYPE_CHECKING

from ..errors import DataError
from .console import state

if TYPE_CHECKING:
    from ..train.recipe import Recipe
    from ..train.rehearsal import Rehearsal
    from ..train.run import Request
    from ..train.setting import Setting

__all__ = ["check_training"]


def check_training(request: "Request", recipe: "Recipe", setting: "Setting") -> None:
    """Says what the data looks like and whether two pictures of it are learned. Raises DataError for a problem."""
    from ..train.rehearsal import rehearse

    with state.progress() as bar:
        (task,) = bar.task_ids

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        found = rehearse(request, recipe, setting, told)
    _show(found)
    if found.problems:
        raise DataError(f"{len(found.problems)} of what was checked is not as it should be")


def _show(found: "Rehearsal") -> None:
    state.document(found.to_dict())
    for text in found.data.warnings:
        state.warn(text)
    for text in found.problems:
        state.result("problem", text)
    if found.fit:
        pictures = " and ".join(dict.fromkeys(found.fit.pictures))
        state.result("two pictures", found.fit.summary(), f"on {pictures}")
    if not found.problems:
        state.result("all is well", f"{found.pairs} pairs")

"""Which values of a test take long: they are run by `make test-all` alone."""

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["full_for"]


def full_for(values: Iterable[Any], *lasting: Any) -> list[Any]:
    """`values` for `parametrize`, those of `lasting` marked `full`; a tuple holds one for each argument."""
    return [_marked(value) if value in lasting else value for value in values]


def _marked(value: Any) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.full)

"""A table of a TOML file -> a frozen dataclass, each field checked; an error names the table and the field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import CatalogError

__all__ = ["Field", "build"]

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """What a field may hold.

    Attributes:
        kind: type of the value, or of each row where `rows` is given.
        choices, pattern, least: the values allowed; a string without them is any but the empty one.
        many: an array of such values, kept as a tuple.
        rows: an array of tables with these fields, kept as a tuple of `kind`.
    """

    kind: type
    required: bool = True
    choices: tuple[str, ...] = ()
    pattern: str = r"(?s).+"
    least: int = 0
    many: bool = False
    rows: "Mapping[str, Field] | None" = None

    def read(self, value: Any, where: str) -> Any:
        """The value as the dataclass keeps it. Raises CatalogError."""
        if not self.many and self.rows is None:
            return self._check(value, where)
        if not isinstance(value, list) or not value:
            raise CatalogError(f"{where}: expected an array with something in it, got {value!r}")
        if self.rows is None:
            return tuple(self._check(item, where) for item in value)
        return tuple(build(self.kind, row, self.rows, f"{where}[{n}]") for n, row in enumerate(value))

    def _check(self, value: Any, where: str) -> Any:
        if type(value) is not self.kind:  # bool is an int, and no size
            raise CatalogError(f"{where}: expected {self.kind.__name__}, got {value!r}")
        if self.choices and value not in self.choices:
            raise CatalogError(f"{where}: {value!r} is none of {', '.join(self.choices)}")
        if isinstance(value, int) and value < self.least:
            raise CatalogError(f"{where}: expected at least {self.least}, got {value}")
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise CatalogError(f"{where}: {value!r} does not look like {self.pattern}")
        return value


def build(kind: type[T], table: Any, fields: Mapping[str, Field], where: str) -> T:
    """A `kind` from a table that has these fields and no others. Raises CatalogError."""
    if not isinstance(table, dict):
        raise CatalogError(f"{where}: expected a table, got {table!r}")
    for key in table:
        if key not in fields:
            raise CatalogError(f"{where}.{key}: unknown field; fields: {', '.join(fields)}")
    for key, field in fields.items():
        if field.required and key not in table:
            raise CatalogError(f"{where}.{key}: missing")
    return kind(**{key: fields[key].read(value, f"{where}.{key}") for key, value in table.items()})

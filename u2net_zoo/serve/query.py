"""A request's query -> an application with its options."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..apps import Application
from ..apps.removal import Removal
from ..errors import U2ZooError, UnknownNameError, one_line
from .limits import RefusalError
from .rembg_route import FILE

__all__ = ["chosen", "file_fields", "parameters"]

WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("false", "0", "no", "off", "f", "n"), False),
}
NUMBER = r"-?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:e-?[0-9]{1,3})?"
LONGEST = 200  # characters of a value
OWN = ("picture",)  # parameters that are the server's, not an application's


def file_fields(kind: type[Application]) -> set[str]:
    """Options that are files: they come as files of the form, never as a path on this machine."""
    return {f.name for f in fields(kind) if f.metadata.get("file")}


def chosen(kind: type[Application], query: Iterable[tuple[str, str]], files: Mapping[str, Path]) -> Application:
    """The application with the options of `query`; `files` are the form's, by the option that they are.

    Raises:
        RefusalError: 422, a name or a value that the application does not have.
    """
    options, hints = {name: f for f in fields(kind) for name in (f.name, _short(f))}, get_type_hints(kind)
    own = () if issubclass(kind, Removal) else OWN  # rembg's clients get the one picture
    values: dict[str, Any] = {}
    for said, text in query:
        if said in own:
            continue
        if said not in options:
            raise RefusalError(422, str(UnknownNameError("option", said[:40], [*map(_short, fields(kind)), *own])))
        name = options[said].name
        if name in values or name in files:
            raise RefusalError(422, f"option {said!r} came more than once; send it once")
        values[name] = _value(options[said], hints[name], text, said)
    for name, path in files.items():
        if name not in file_fields(kind):
            raise RefusalError(422, f"file {name[:40]!r}: {kind.name} takes {_names(kind)}")
        values[name] = path if Path in _kinds(hints[name]) else str(path)
    try:
        return kind(**values)
    except U2ZooError as error:
        raise RefusalError(422, str(error)) from None
    except (TypeError, ValueError) as error:
        raise RefusalError(422, f"{kind.name}: {one_line(error)}") from None


def _short(option: Field[Any]) -> str:
    return option.metadata.get("short", option.name)


def _names(kind: type[Application]) -> str:
    photograph, files = FILE if issubclass(kind, Removal) else "image", sorted(file_fields(kind))
    return f"the files {photograph}, {', '.join(files)}" if files else f"no file but {photograph}"


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _value(option: Field[Any], hint: Any, text: str, said: str) -> Any:
    """`text` as the option's type; `said` is what it was called. Raises RefusalError."""
    kinds = _kinds(hint)
    if NoneType in kinds and text.lower() in ("", "none"):
        return None
    if option.metadata.get("file") and not _is_word(option, text):
        raise RefusalError(422, _refuse_path(option, text))
    for kind in kinds:
        value = _parse(kind, text)
        if value is not None:
            return value
    raise RefusalError(422, f"option {said!r}: {text[:40]!r} is not {_describe_allowed(hint)}")


def _refuse_path(option: Field[Any], text: str) -> str:
    file = f"a file is sent as the form's file {option.name!r}"
    if "words" not in option.metadata:
        return f"option {option.name!r}: {file}, not named in the query"
    help = option.metadata.get("help", "words").removesuffix(".")
    return f"option {option.name!r}: {text[:40]!r} cannot be taken from the query; allowed are: {help}; {file}"


def _is_word(option: Field[Any], text: str) -> bool:
    """Whether a file's option says that `text` is no path: its metadata `words` is a pattern of what else it takes."""
    words = option.metadata.get("words")
    return bool(words and len(text) <= LONGEST and re.fullmatch(words, text) and _is_plain(text))


def _is_plain(text: str) -> bool:
    """Whether `text` cannot lead to a file outside the folder that the server stands in."""
    return text.isprintable() and not text.startswith((".", "~")) and not set(text) & set("/\\")


def _parse(kind: Any, text: str) -> Any:
    if kind is bool:
        return WORDS.get(text.lower())
    if kind is int:
        return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None
    if kind is float:
        number = float(text) if re.fullmatch(NUMBER, text) else None
        return number if number is not None and math.isfinite(number) else None
    if kind is str:
        return text if len(text) <= LONGEST and _is_plain(text) else None
    if get_origin(kind) is Literal:
        return text if text in get_args(kind) else None
    return None


def _describe_allowed(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "plain text", NoneType: "none"}
    said = [names[kind] for kind in _kinds(hint) if kind in names]
    return ", ".join(said + [str(value) for kind in _kinds(hint) for value in get_args(kind)]) or "possible here"


def parameters(kind: type[Application]) -> list[dict[str, Any]]:
    """The options as parameters of OpenAPI 3.1; files are left out, they are part of the body."""
    hints, names = get_type_hints(kind), {bool: "boolean", int: "integer", float: "number", str: "string"}
    found = []
    for option in fields(kind):
        if option.metadata.get("file") and not option.metadata.get("words"):
            continue
        types = [names[k] for k in _kinds(hints[option.name]) if k in names]
        schema: dict[str, Any] = {"type": types[0] if len(types) == 1 else types or "string"}
        choices = [value for k in _kinds(hints[option.name]) for value in get_args(k)]
        if choices:
            schema["enum"] = choices
        if option.default is not MISSING and option.default is not None:
            schema["default"] = option.default
        help = str(option.metadata.get("help", ""))
        found.append({"name": _short(option), "in": "query", "schema": schema, "description": help})
    return found

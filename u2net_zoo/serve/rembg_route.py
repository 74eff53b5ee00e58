"""`/api/remove`: what clients of rembg's server send -> a `Removal` and its options."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from .. import BUNDLED
from ..apps.removal import Removal
from ..errors import U2ZooError
from ..rembg_models import CUSTOM, MODELS, check_name
from .limits import RefusalError

__all__ = ["FILE", "PATH", "TEXTS", "openapi_of_removal", "refuse_address", "removal_of"]

PATH = "/api/remove"
FILE = "file"  # as rembg calls the form's photograph; ours is `image`
TEXTS = 32  # fields of a form; rembg knows eleven
# What of `extras` is taken: rembg's name to the option.
EXTRAS = {"putalpha": "putalpha", "cc": "cloth_category", "cloth_category": "cloth_category"}
ELSEWHERE = "send the photograph: curl -s ADDRESS | curl -s -F file=@- http://…/api/remove -o output.png"


@cache
def kind_of(name: str) -> type[Removal]:
    """The application on the weights that rembg calls `name`; empty and custom ones are the server's own `--model`."""
    weights = BUNDLED if name in ("", *CUSTOM) else name
    feeding = CUSTOM["dis_custom"] if name == "dis_custom" else None
    return type("Removal", (Removal,), {"model": weights, "feeding": feeding, "__doc__": Removal.__doc__})


def removal_of(sent: Iterable[tuple[str, str]]) -> tuple[type[Removal], list[tuple[str, str]]]:
    """The application, and its options as `chosen` takes them, of what came in the query and in the form.

    Raises:
        RefusalError: 422, no such model, or `extras` that are not taken.
    """
    named: dict[str, str] = {}
    options = []
    for name, text in sent:
        if name not in ("model", "extras"):
            options.append((name, text))
        elif name in named:
            raise RefusalError(422, f"option {name!r} came more than once")
        else:
            named[name] = text
    model = named.get("model", "")
    try:
        if model:
            check_name(model[:40])
    except U2ZooError as error:
        raise RefusalError(422, str(error)) from None
    return kind_of(model), options + _extras(named.get("extras", ""))


def _extras(text: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusalError(422, f'extras {text[:40]!r}: allowed is a JSON object, such as {{"putalpha": true}}')
    if "model_path" in found:
        raise RefusalError(422, "extras model_path: the weights are the server's own: u2zoo serve --model FILE")
    for name in found:
        if name not in EXTRAS:
            raise RefusalError(422, f"extras {name[:40]!r} is not taken; allowed are {', '.join(EXTRAS)}")
    return [(EXTRAS[name], str(value)) for name, value in found.items() if value is not None]


def refuse_address(query: Iterable[tuple[str, str]]) -> RefusalError:
    """What a GET is told: 400 where it names an address, as rembg refuses one, 422 where it names none.

    Whoever may have a server fetch what he names can have it ask machines that only the server reaches.
    """
    if any(name == "url" for name, _ in query):
        return RefusalError(400, f"url: this server fetches no address; {ELSEWHERE}")
    return RefusalError(422, f"a photograph is sent with POST; {ELSEWHERE}")


def openapi_of_removal(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """What FastAPI cannot know of the route: its parameters, which may stand in the form as well, and its file."""
    text = {"type": "string"}
    own: list[dict[str, Any]] = [
        {
            "name": "model",
            "in": "query",
            "schema": {"type": "string", "enum": [*MODELS, *CUSTOM]},
            "description": "rembg's name; left out, or u2net_custom: the server's own weights.",
        },
        {"name": "extras", "in": "query", "schema": text, "description": f"A JSON object with {', '.join(EXTRAS)}."},
    ]
    every = [*own, *(each for each in parameters if each["name"] not in EXTRAS.values())]
    texts = {each["name"]: each["schema"] for each in every}
    form = {"type": "object", "required": [FILE], "properties": {FILE: {"type": "string", "format": "binary"}, **texts}}
    return {
        "parameters": every,
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
    }

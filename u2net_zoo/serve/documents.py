"""What the server says of itself: the page about its API, and the words of its OpenAPI document."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from .. import __version__
from ..apps import APPLICATIONS, Application
from ..apps.removal import Removal
from ..rembg_models import CUSTOM, MODELS
from .limits import Limits
from .query import file_fields, parameters

__all__ = ["openapi_of", "reference"]

ERRORS = {
    400: "the body is not a photograph, is damaged, or is a form that cannot be read",
    403: "the request comes from a page of another site, or names another host",
    408: "the body arrived too slowly",
    413: "too many bytes or too many pixels",
    422: "the application does not have this option, or does not take this value",
    503: "the queue is full, `Retry-After` says when to try again; or the server lacks a package or weights",
    504: "not finished in time; its place in the queue is free when its current step ends",
}


def openapi_of(kind: type[Application]) -> dict[str, Any]:
    """What FastAPI cannot know of an application's endpoint: its parameters and its body."""
    binary = {"type": "string", "format": "binary"}
    parts = {"image": binary, **dict.fromkeys(sorted(file_fields(kind)), binary)}
    form = {"type": "object", "required": ["image"], "properties": parts}
    picture = {"name": "picture", "in": "query", "schema": {"type": "string", "default": ""}}
    picture["description"] = "Which picture of the result; the JSON answer lists their names."
    return {
        "parameters": [*parameters(kind), picture],
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "image/*": {"schema": binary}},
        },
    }


def responses() -> dict[int | str, dict[str, Any]]:
    """The answers that every application has."""
    error = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
    good = {"image/png": {}, "application/json": {"schema": {"type": "object"}}}
    told: dict[int | str, dict[str, Any]] = {200: {"description": "The picture, or JSON", "content": good}}
    return told | {status: {"description": text, "content": error} for status, text in ERRORS.items()}


def reference(limits: Limits) -> str:
    """The HTML page about the API."""
    kinds: list[type[Application]] = [*APPLICATIONS.values(), Removal]
    sections = "\n".join(map(_section, kinds))
    errors = "".join(
        f'<tr><th scope="row">{status}</th><td>{_marked(text)}</td></tr>' for status, text in ERRORS.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>u2zoo serve: API</title>
<link rel="icon" href="page/icon.svg">
<link rel="stylesheet" href="page/style.css">
</head>
<body>
<header class="top"><div><p class="kicker">u2net-zoo {__version__}</p><h1>API</h1></div>
<nav aria-label="More"><a href="./">Page</a> <a href="openapi.json">OpenAPI</a></nav></header>
<main class="text">
<p>Send a photograph as the body, or a form with the file <code>image</code>. Options go into the query. The answer is a
PNG file. With <code>Accept: application/json</code> it is JSON: names of the pictures, sizes, seconds. The server
fetches no address for you and keeps nothing that you send.</p>
<pre tabindex="0">curl --data-binary @photo.jpg "http://127.0.0.1:8000/api/mask" -o mask.png</pre>
<p>At most {limits.bytes / 1e6:.4g} MB and {limits.pixels / 1e6:.4g} megapixels. {limits.timeout:g} seconds each to send
it, to wait for its turn, to compute and to receive the answer. The queue holds at most {limits.queue} photographs.</p>
{sections}
<section><h2>Errors</h2>
<p>The body of an error is one line of JSON: <code>{{"error": "…"}}</code>.</p>
{_table("Errors", ("status", "cause"), errors)}</section>
</main>
</body>
</html>
"""


_AS_REMBG = f"""<p>For clients of rembg's server: the form's file is called <code>file</code>, options stand in the form
or in the query. <code>model</code> is one of {", ".join(map(escape, (*MODELS, *CUSTOM)))}; left out, it is the server's
own. The last two options come in <code>extras</code>, a JSON object. A GET with <code>url</code> is refused.</p>"""


def _section(kind: type[Application]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(p["name"])}</code></th><td>{escape(_type(p["schema"]))}</td>'
        f"<td>{escape(str(p['schema'].get('default', '')))}</td><td>{escape(p['description'])}</td></tr>"
        for p in parameters(kind)
    )
    files = "".join(f"<p>File of the form: <code>{escape(name)}</code></p>" for name in sorted(file_fields(kind)))
    files += _AS_REMBG if kind is Removal else ""
    columns = ("option", "values", "default", "meaning")
    table = _table(f"Options of {kind.name}", columns, rows) if rows else ""
    heading = f"<h2><code>POST /api/{escape(kind.name)}</code></h2>"
    return f"<section>{heading}<p>{escape(kind.title)}</p>{files}{table}</section>"


def _table(name: str, columns: Sequence[str], rows: str) -> str:
    """It scrolls where it is wider than the window: with the keyboard too, so it can be focused and has a name."""
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{table}</div>'


def _marked(text: str) -> str:
    """HTML of a text in which `code` is marked as in Markdown."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    return schema["type"] if isinstance(schema["type"], str) else " or ".join(schema["type"])

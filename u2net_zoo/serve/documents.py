"""What the server says of itself: the page about its addresses, and the words of its OpenAPI document."""

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
    400: "the body is no photograph, damaged, or no form that can be read",
    403: "asked by another site's page, or by a name that is not this server's",
    408: "the body came too slowly",
    413: "too many bytes, or too many pixels",
    422: "an option that the application does not have, or a value that it cannot take",
    503: "too many photographs wait, `Retry-After` says when to come back; or the server lacks what this needs",
    504: "not finished in time; the step that it was at still ends, so its place is taken until then",
}


def openapi_of(kind: type[Application]) -> dict[str, Any]:
    """What FastAPI cannot know of an application's address: its parameters and its body."""
    binary = {"type": "string", "format": "binary"}
    parts = {"image": binary, **dict.fromkeys(sorted(file_fields(kind)), binary)}
    form = {"type": "object", "required": ["image"], "properties": parts}
    picture = {"name": "picture", "in": "query", "schema": {"type": "string", "default": ""}}
    picture["description"] = "Which of the result's pictures; the facts name them."
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
    told: dict[int | str, dict[str, Any]] = {200: {"description": "The picture, or the facts", "content": good}}
    return told | {status: {"description": text, "content": error} for status, text in ERRORS.items()}


def reference(limits: Limits) -> str:
    """The HTML page about the addresses."""
    kinds: list[type[Application]] = [*APPLICATIONS.values(), Removal]
    sections = "\n".join(map(_section, kinds))
    errors = "".join(f"<tr><td>{status}</td><td>{escape(text)}</td></tr>" for status, text in ERRORS.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>u2zoo serve: addresses</title>
<link rel="icon" href="page/icon.svg">
<link rel="stylesheet" href="page/style.css">
</head>
<body>
<header class="top"><div><p class="kicker">u2net-zoo {__version__}</p><h1>Addresses</h1></div>
<nav><a href="./">The page</a> <a href="openapi.json">OpenAPI</a></nav></header>
<main class="text">
<p>Send a photograph's bytes as the body, or a form with the file <code>image</code>; options go into the query. The
answer is a PNG file, or with <code>Accept: application/json</code> what there is to say about it. No address is ever
fetched for you, nothing that you send is kept.</p>
<pre>curl --data-binary @photo.jpg "http://127.0.0.1:8000/api/mask" -o mask.png</pre>
<p>At most {limits.bytes / 1e6:.4g} MB and {limits.pixels / 1e6:.4g} megapixels, {limits.timeout:g} seconds for sending,
for its turn to come, for the answer and for taking it, each; at most {limits.queue} photographs are worked on or
wait.</p>
{sections}
<section><h2>When it is refused</h2>
<p>The body is one line of JSON: <code>{{"error": "…"}}</code>.</p>
<div class="scroll"><table>{errors}</table></div></section>
</main>
</body>
</html>
"""


_AS_REMBG = f"""<p>For clients of rembg's server: the form's file is called <code>file</code>, options stand in the form
or in the query. <code>model</code> is one of {", ".join(map(escape, (*MODELS, *CUSTOM)))}; left out, it is the server's
own. The last two options come in <code>extras</code>, a JSON object. A GET with <code>url</code> is refused.</p>"""


def _section(kind: type[Application]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(_type(p['schema']))}</td>"
        f"<td>{escape(str(p['schema'].get('default', '')))}</td><td>{escape(p['description'])}</td></tr>"
        for p in parameters(kind)
    )
    files = "".join(f"<p>File of the form: <code>{escape(name)}</code></p>" for name in sorted(file_fields(kind)))
    table = f'<div class="scroll"><table>{rows}</table></div>' if rows else ""
    files += _AS_REMBG if kind is Removal else ""
    heading = f"<h2><code>POST /api/{escape(kind.name)}</code></h2>"
    return f"<section>{heading}<p>{escape(kind.title)}</p>{files}{table}</section>"


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    return schema["type"] if isinstance(schema["type"], str) else " or ".join(schema["type"])

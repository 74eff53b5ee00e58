"""The server: an endpoint for each application, `/health`, what it says of itself, and the page."""

import contextlib
import functools
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..apps import APPLICATIONS, Application
from ..apps.removal import Removal
from ..errors import OptionError, UnknownNameError
from ..session import MaskSession
from ..system import take_address
from . import documents, rembg_route
from .body import Upload, drain, receive
from .engine import Answer, Engine, Job
from .guard import LOOPBACK, Asgi, Guard, patient
from .limits import Limits, RefusalError
from .query import chosen, file_fields, parameters

__all__ = ["create_app", "listen", "serve"]

CONNECTIONS = 512  # more are turned away before anything of theirs is read
PAGE = files("u2net_zoo") / "page"  # shared with the page of `--to web`
OWN = ("u2net_zoo.serve", "page")  # package and folder of what the server's page has for itself: its engine.js
log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises OptionError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        take_address(listening)
        listening.bind(address)
        listening.listen(CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from None
    return listening


def serve(session: Callable[[type[Application]], MaskSession], listening: socket.socket, limits: Limits) -> None:
    """Answers until it is interrupted or told to end; photographs in the model then are finished."""
    import uvicorn

    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it warns of every form that is broken
    host = listening.getsockname()[0]
    loopback = host.startswith("127.") or host == "::1"
    app = create_app(session, limits, LOOPBACK | {host} if loopback else None)
    config = uvicorn.Config(
        app,
        http=patient(limits),
        ws="none",
        log_level="error",
        access_log=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listening])


def create_app(
    session: Callable[[type[Application]], MaskSession], limits: Limits, names: frozenset[str] | None = None
) -> Asgi:
    """The ASGI application. `names`: see `Guard`."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = Engine(session, limits)
        yield
        app.state.engine.close()

    app = FastAPI(
        title="u2net-zoo", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.limits, app.state.uploads = limits, 0
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_fault)
    for kind in APPLICATIONS.values():
        app.add_api_route(
            f"/api/{kind.name}", _endpoint(functools.partial(_answer, kind)), methods=["POST"], summary=kind.title,
            name=kind.name, responses=documents.responses(), openapi_extra=documents.openapi_of(kind),
            response_class=Response,
        )  # fmt: skip
    app.add_api_route(
        rembg_route.PATH, _endpoint(_answer_removal), methods=["POST"], summary=Removal.title, name=Removal.name,
        responses=documents.responses(), openapi_extra=rembg_route.openapi_of_removal(parameters(Removal)),
        response_class=Response,
    )  # fmt: skip
    app.add_api_route(rembg_route.PATH, _refuse_address, methods=["GET"], include_in_schema=False)
    app.add_api_route("/api/{application}", _answer_unknown, methods=["POST"], include_in_schema=False)
    app.add_api_route("/health", _health, methods=["GET"], summary="How many photographs wait")
    app.add_api_route("/", _page("index.html"), methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/docs", _reference, methods=["GET"], include_in_schema=False)
    app.mount("/page", StaticFiles(directory=str(PAGE), packages=[OWN]))
    return Guard(app, names)


def _page(name: str) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        return Response((PAGE / name).read_bytes(), media_type="text/html")

    return page


async def _reference(request: Request) -> Response:
    return Response(documents.reference(request.app.state.limits), media_type="text/html")


async def _health(request: Request) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    waiting = {"inside": engine.inside, "queue": engine.limits.queue}
    return {"status": "ok", "version": __version__, "applications": list(APPLICATIONS), **waiting}


async def _answer_unknown(request: Request) -> Response:
    await drain(request, request.app.state.limits)
    name = request.path_params["application"][:40]
    return _error(RefusalError(404, str(UnknownNameError("application", name, APPLICATIONS))))


async def _refuse_address(request: Request) -> Response:
    return _error(rembg_route.refuse_address(request.query_params.multi_items()))


def _endpoint(work: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return _response(await work(request))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except RefusalError as error:
            await drain(request, request.app.state.limits)
            return _error(error)
        except MemoryError:
            log.exception("out of memory")
            return _error(RefusalError(503, "out of memory; send a smaller photograph", again=5))

    return answer


async def _answer(kind: type[Application], request: Request) -> Answer:
    engine: Engine = request.app.state.engine
    query = request.query_params.multi_items()
    if not file_fields(kind):
        chosen(kind, query, {})  # before the body is read, not after it
    engine.check_room()
    upload = await _read_upload(request)
    try:
        wanted = None if _wants_facts(request) else request.query_params.get("picture", "")
        return await engine.run(Job(kind, query, upload.image, upload.files, request.is_disconnected, wanted))
    finally:
        upload.close()


async def _answer_removal(request: Request) -> Answer:
    engine: Engine = request.app.state.engine
    query = request.query_params.multi_items()
    kind, options = rembg_route.removal_of(query)
    chosen(kind, options, {})
    engine.check_room()
    upload = await _read_upload(request, rembg_route.FILE, rembg_route.TEXTS)
    try:
        kind, options = rembg_route.removal_of([*query, *upload.texts])
        chosen(kind, options, {})
        return await engine.run(Job(kind, options, upload.image, upload.files, request.is_disconnected))
    finally:
        upload.close()


async def _read_upload(request: Request, *form: Any) -> Upload:
    state = request.app.state
    if state.uploads >= state.limits.uploads:
        raise RefusalError(503, f"{state.uploads} uploads are in progress; try again in a moment", again=2)
    state.uploads += 1
    try:
        return await receive(request, state.limits, *form)
    finally:
        state.uploads -= 1


def _wants_facts(request: Request) -> bool:
    """Whether JSON is named in Accept and no picture is."""
    accepted = request.headers.get("accept", "").lower()
    return "application/json" in accepted and "image/" not in accepted


def _response(answer: Answer) -> Response:
    if answer.png is None:
        return Response(json.dumps(answer.facts, default=str), media_type="application/json")
    return Response(answer.png, media_type="image/png", headers={"x-seconds": str(answer.facts["seconds"])})


def _error(error: RefusalError) -> Response:
    headers = {"connection": "close"} | ({"retry-after": str(error.again)} if error.again else {})
    return JSONResponse({"error": str(error)}, error.status, headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """404 and 405 of the framework, in our own form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    words = {404: "no such address; /docs describes the API", 405: "send photographs with POST; see /docs"}
    return JSONResponse({"error": words.get(status, str(getattr(error, "detail", error)))}, status, headers)


async def _answer_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: said without its inner life; the server's log has that."""
    return JSONResponse({"error": "unexpected error; the log of the server says more"}, 500, {"connection": "close"})

"""A request's body, read within limits: the photograph and the files that belong to it, each in a spooled file."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING

from .limits import Limits, RefusalError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Upload", "drain", "receive"]

IN_MEMORY = 1 << 20  # bytes; more of a body goes to disk
FILES = 4  # in one form
LONGEST = 10_000  # bytes of a text in one
SECOND = 1.0  # for which a refused body is still read, so that its sender gets to see the answer …
UNASKED = 8 << 20  # … and bytes of it, where its sender has not said how many there are, or said far too many


@dataclass
class Upload:
    """What came: the photograph, other files of the form by their field's name, and its texts. To be closed."""

    image: IO[bytes]
    files: dict[str, IO[bytes]] = field(default_factory=dict)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def close(self) -> None:
        for file in (self.image, *self.files.values()):
            file.close()


async def receive(request: "Request", limits: Limits, name: str = "image", texts: int = 0) -> Upload:
    """The body: a form with a file, or the photograph's bytes themselves.

    Args:
        name: the file's, in the form.
        texts: how many other fields the form may have.

    Raises:
        RefusalError: 413 too many bytes, 408 too slow, 400 empty or no form that can be read.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > limits.bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.timeout):
            form = request.headers.get("content-type", "").lower().startswith("multipart/")
            upload = await (_read_form(request, limits, name, texts) if form else _read_raw(request, limits))
    except TimeoutError:
        raise RefusalError(
            408, f"the body did not arrive within {limits.timeout:g} s; send a smaller photograph"
        ) from None
    upload.image.seek(0)
    if not upload.image.read(1):
        upload.close()
        raise RefusalError(400, f"the body is empty; send the photograph's bytes, or a form with the file {name!r}")
    upload.image.seek(0)
    return upload


async def drain(request: "Request", limits: Limits) -> None:
    """Reads on for a moment: a connection that is closed on unread bytes loses the answer as well."""
    if getattr(request.state, "whole", False) or "100-continue" in request.headers.get("expect", ""):
        return  # nothing is left, or it waits to be asked for its body
    declared = int(request.headers.get("content-length", 0))
    left = declared if 0 < declared <= 2 * limits.bytes else UNASKED
    with contextlib.suppress(Exception):  # the client has gone, or the body was read already
        async with asyncio.timeout(SECOND):
            while left > 0 and (message := await request.receive())["type"] == "http.request":
                left = left - len(message["body"]) if message.get("more_body") else 0


def _too_large(limits: Limits) -> RefusalError:
    return RefusalError(413, f"the body is larger than {limits.bytes} bytes; send a smaller photograph")


async def _read_limited(request: "Request", limits: Limits) -> AsyncGenerator[bytes, None]:
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > limits.bytes:
            raise _too_large(limits)
        request.state.whole = count == int(request.headers.get("content-length", -1))
        yield chunk
    request.state.whole = True


async def _read_raw(request: "Request", limits: Limits) -> Upload:
    with _close_on_error(SpooledTemporaryFile(IN_MEMORY)) as file:
        async for chunk in _read_limited(request, limits):
            file.write(chunk)
    return Upload(file)


@contextlib.contextmanager
def _close_on_error(file: IO[bytes]) -> Iterator[IO[bytes]]:
    try:
        yield file
    except BaseException:
        file.close()
        raise


async def _read_form(request: "Request", limits: Limits, name: str, texts: int) -> Upload:
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    body = _read_limited(request, limits)
    parser = MultiPartParser(request.headers, body, max_files=FILES, max_fields=texts, max_part_size=LONGEST)
    try:
        parts = (await parser.parse()).multi_items()
    except MultiPartException as error:
        hint = "" if texts else "; options go into the query"
        raise RefusalError(400, f"the form cannot be read: {error.message}{hint}") from None
    files: dict[str, IO[bytes]] = {key: part.file for key, part in parts if isinstance(part, UploadFile)}
    said = [(key, part) for key, part in parts if isinstance(part, str)]
    if name not in files or len(files) + len(said) != len(parts):
        for _, part in parts:
            if isinstance(part, UploadFile):
                part.file.close()
        came = ", ".join(repr(key) for key, _ in parts) or "nothing"
        raise RefusalError(400, f"the form holds {came[:200]}; send one file {name!r}, and each name only once")
    return Upload(files.pop(name), files, said)

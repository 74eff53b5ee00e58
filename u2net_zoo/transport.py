"""One file over HTTP, as a downloader for pooch: bounded in size, never waiting forever, no error page for a model."""

import hashlib
import html
import re
import time
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from http import HTTPStatus
from typing import IO, Any
from urllib.parse import urljoin

from .errors import DownloadError, one_line

__all__ = ["Downloader", "Progress", "silent"]

Progress = Callable[[int, int | None], None]  # bytes so far, bytes expected


def silent(done: int, total: int | None) -> None:
    """Progress that nobody watches."""


CHUNK = 1 << 16
PAGE = 1 << 20  # the largest page that is looked at
SLOWEST = 1024  # bytes a second, over the time of `patience`; below it a connection counts as stalled
CAUSES = {
    401: "the file is not public",
    403: "the file is not public, or its download quota is used up",
    404: "the file has moved or is gone",
    407: "the proxy wants a name and a password",
    429: "too many downloads; try again later",
}


class Downloader:
    """Callable as pooch calls its downloaders: `(url, output_file, pooch)`.

    Proxies and certificates come from the environment variables that requests reads.

    Args:
        expected: bytes of the file, None where they are not known.
        limit: a body beyond this is cut off.
        patience: seconds without an answer, or with less than 1 kB/s, after which it gives up.
        drive: answer Google Drive's question whether a large file shall be sent although it was not scanned.
        progress: called as bytes arrive.
        bearer: a token for the host that is asked, and for no other that it leads to.
        causes: what a status most likely means, where the usual words do not say it.

    Raises:
        DownloadError: what went wrong and its likely cause; the caller names the source.
    """

    def __init__(
        self,
        expected: int | None,
        limit: int,
        patience: float,
        *,
        drive: bool = False,
        progress: Progress = silent,
        bearer: str | None = None,
        causes: Mapping[int, str] = CAUSES,
    ):
        self.expected, self.limit, self.patience = expected, limit, patience
        self.drive, self.progress = drive, progress
        self.bearer, self.causes = bearer, causes
        self.sha256 = ""  # of what has arrived

    def __call__(self, url: str, output_file: Any, pooch: object = None) -> None:
        import requests
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        try:
            with requests.Session() as session, open(output_file, "wb") as file:
                response = self._open(session, url)
                with response:
                    self._receive(response, file)
        except (requests.Timeout, ReadTimeoutError) as error:
            raise DownloadError(f"no answer for {self.patience:g} s ({_cause(error)})") from None
        except requests.exceptions.ProxyError as error:
            raise DownloadError(f"the proxy does not let it through ({_cause(error)})") from None
        except requests.exceptions.SSLError as error:
            raise DownloadError(f"the connection is not trusted ({_cause(error)})") from None
        except (requests.RequestException, HTTPError) as error:
            raise DownloadError(f"the connection failed ({_cause(error)})") from None

    def _open(self, session: Any, url: str) -> Any:
        """The response that carries the file; Google Drive's warning page is answered once."""
        response = self._get(session, url)
        if not _is_page(response):
            return response
        with response:
            page = self._page(response)
        form = confirmation(page, response.url) if self.drive else None
        if form is None:
            raise DownloadError(f"the server sent a web page instead of the file: {self._title(page)!r}")
        response = self._get(session, form[0], form[1])
        if _is_page(response):
            with response:
                raise DownloadError(
                    "Google Drive asked again after the confirmation; its download quota may be used up"
                )
        return response

    def _page(self, response: Any) -> str:
        page = b""
        for chunk in self._chunks(response, ends_early=True):
            page += chunk
            if len(page) > PAGE:
                break
        return page.decode("utf-8", "replace")

    def _get(self, session: Any, url: str, params: dict[str, str] | None = None) -> Any:
        # Compressed on the way, a body could be larger than its declared length and the limit would count other bytes.
        headers = {"Accept-Encoding": "identity", "User-Agent": "u2net-zoo"}
        timeout = (self.patience, self.patience)
        # Said as `auth`, a token is not replaced by what ~/.netrc has for the host.
        auth = self._sign if self.bearer else None
        response = session.get(url, params=params, headers=headers, auth=auth, timeout=timeout, stream=True)
        if response.status_code >= 400:
            response.close()
            cause = self.causes.get(response.status_code, "the server is in trouble; try again later")
            raise DownloadError(f"HTTP {_status(response.status_code)}: {cause}")
        return response

    def _sign(self, request: Any) -> Any:
        """Adds the token. requests takes it off again where a redirect leads to another host."""
        request.headers["Authorization"] = f"Bearer {self.bearer}"
        return request

    def _title(self, page: str) -> str:
        """What a page says it is, without the token: a server may send back what it was sent."""
        found = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
        text = html.unescape(found[1]) if found else re.sub(r"<[^>]*>", " ", page)
        text = text.replace(self.bearer, "…") if self.bearer else text
        return _without_keys(" ".join(text.split()))[:80]

    def _receive(self, response: Any, file: IO[bytes]) -> None:
        most, declared = self.expected or self.limit, _declared(response)
        if declared is not None and (declared > most or declared < (self.expected or 0)):
            wanted = "" if self.expected else "at most "
            raise DownloadError(
                f"expected {wanted}{most} bytes, the server announces {declared}; the file was replaced"
            )
        total = self.expected or declared
        digest, done = hashlib.sha256(), 0
        for chunk in self._chunks(response, ends_early=total is not None):
            if not done and looks_like_html(chunk):
                raise DownloadError(
                    f"the server sent a web page instead of the file: {self._title(chunk.decode('utf-8', 'replace'))!r}"
                )
            done += len(chunk)
            if done > most:
                raise DownloadError(f"expected at most {most} bytes, the server sends more; stopped")
            file.write(chunk)
            digest.update(chunk)
            self.progress(done, total)
        if done < (total or 1):
            raise DownloadError(f"expected {total or 'some'} bytes, got {done}; the connection ended early")
        self.sha256 = digest.hexdigest()

    def _chunks(self, response: Any, ends_early: bool) -> Iterator[bytes]:
        """The body as it arrives. A socket's timeout starts anew with every byte, so a trickle is timed here.

        With `ends_early` a connection that breaks is an end: the receiver counts the bytes and says it better.
        """
        from urllib3.exceptions import ProtocolError

        since, arrived = time.monotonic(), 0
        while True:
            try:
                chunk = response.raw.read1(CHUNK)
            except ProtocolError:
                if not ends_early:
                    raise
                return
            if not chunk:
                return
            arrived += len(chunk)
            yield chunk
            elapsed = time.monotonic() - since
            if elapsed < self.patience:
                continue
            if arrived < SLOWEST * elapsed:
                raise DownloadError(f"only {arrived} bytes arrived in {elapsed:.0f} s; the connection has stalled")
            since, arrived = time.monotonic(), 0


def _cause(error: BaseException) -> str:
    """The system's own word where there is one: requests wraps urllib3, which wraps a socket's error."""
    chain = [error]
    while inner := _inner(chain[-1]):
        chain.append(inner)
    words = [link.strerror for link in chain if isinstance(link, OSError) and link.strerror]
    return words[-1] if words else _without_keys(one_line(chain[-1], 4000))[:120]


def _without_keys(text: str) -> str:
    """Without names and queries of addresses: either may be a key to the file."""
    return re.sub(r"\?[^\s'\"<>]+", "", re.sub(r"//[^\s/@]+@", "//", text))


def _status(status: int) -> str:
    """It and what it is called; a server's own words may be anything."""
    known = [each.phrase for each in HTTPStatus if each == status]
    return " ".join([str(status), *known])


def _inner(error: BaseException) -> BaseException | None:
    candidates = (getattr(error, "reason", None), *error.args, error.__cause__)
    return next((inner for inner in candidates if isinstance(inner, BaseException)), None)


def _declared(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _is_page(response: Any) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def looks_like_html(start: bytes) -> bool:
    """Whether a body begins as a web page does; no format of weights begins with an angle bracket."""
    return bool(re.match(rb"\s*<(!doctype|html|head|\?xml)", start[:256], re.IGNORECASE))


def confirmation(page: str, url: str) -> tuple[str, dict[str, str]] | None:
    """Address and fields of Google Drive's "Download anyway" form; None for a page without it.

    The page of November 2026 is `<form id="download-form" action="https://drive.usercontent.google.com/download"
    method="get">` with hidden fields id, export, confirm, uuid (and a resourcekey for some files); whatever fields it
    has are sent back.
    """
    form = _Form()
    form.feed(page)
    return (urljoin(url, form.action), form.fields) if form.action and form.fields else None


class _Form(HTMLParser):
    """Collects the hidden fields of the form `download-form`."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "form":
            self.inside = values.get("id") == "download-form"
            self.action = values.get("action", "") if self.inside else self.action
        elif tag == "input" and self.inside and values.get("type") == "hidden" and "name" in values:
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "form"

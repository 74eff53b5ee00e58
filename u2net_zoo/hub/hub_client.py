"""The hub's own library: imported so that it reports nothing, and its errors in one line that holds no token.

HF_ENDPOINT     another address than huggingface.co: a mirror
HF_TOKEN        who asks; or what `hf auth login` has stored
"""

import contextlib
import os
import re
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import DownloadError, InputError, MissingExtraError, U2ZooError, one_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = [
    "LOG_IN",
    "SWITCH",
    "client",
    "endpoint",
    "errors_of_the_hub",
    "log_in",
    "token",
    "unreported_hub",
    "without_secrets",
]

SWITCH = "HF_HUB_DISABLE_TELEMETRY"  # read once, at the import; without it the first call asks for a list of programs
ENDPOINT = "https://huggingface.co"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def unreported_hub(what: str) -> ModuleType:
    """The package, imported so that it reports nothing; the one way in which it is imported here.

    Where a host program has imported it before, it is told to end its reports.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ[SWITCH] = "1"
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ModuleNotFoundError:
        raise MissingExtraError(what, "huggingface_hub", "hub") from None
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


def client(what: str) -> "HfApi":
    """What asks the hub. Raises MissingExtraError: for `what` the package is needed."""
    from .. import __version__

    library = unreported_hub(what)
    return library.HfApi(endpoint=endpoint(), library_name="u2net-zoo", library_version=__version__)


def endpoint() -> str:
    """The hub's address. Raises InputError: HF_ENDPOINT is none."""
    chosen = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", chosen):
        raise InputError("HF_ENDPOINT is no address; allowed: https://HOST, such as a mirror's")
    return chosen


def token(what: str) -> str | None:
    """Who asks; None: nobody is logged in, or HF_HUB_DISABLE_IMPLICIT_TOKEN is set. Never to be shown."""
    unreported_hub(what)
    from huggingface_hub.utils import build_hf_headers

    with errors_of_the_hub(what):
        return build_hf_headers().get("authorization", "").removeprefix("Bearer ") or None


def log_in() -> str:
    """What to do about a repository that is not shown to whoever asks."""
    known = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    return f"the token in HF_TOKEN must be allowed to; otherwise {LOG_IN}" if known else LOG_IN


@contextlib.contextmanager
def errors_of_the_hub(what: str, kind: type[U2ZooError] = DownloadError) -> Iterator[None]:
    """What goes wrong inside is one error of `kind` about `what`.

    The library's own error is no part of it: its text may hold an address that is a key to the file, and whatever a
    server has answered.
    """
    try:
        yield
    except U2ZooError:
        raise
    except Exception as error:  # the library raises its own errors, those of its transport, and ValueError
        raise kind(f"{what}: {without_secrets(_reason(error))}") from None


def _reason(error: Exception) -> str:
    import httpx2
    from huggingface_hub import errors

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401 and response is not None and response.request.url.path.endswith("/whoami-v2"):
        return f"the hub does not know the token; {LOG_IN}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"its owner gives access to those who ask for it: ask on the repository's page at {endpoint()}; {log_in()}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision; name a branch, a tag or a commit that it has"
    if isinstance(error, errors.DisabledRepoError):
        return "the hub has closed this repository"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"nobody is logged in: {LOG_IN}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to ask the hub"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        return f"there is no such repository, or it is not public: check the name; {log_in()}"
    if status is not None:
        return _of_status(status, response)
    if isinstance(error, httpx2.TimeoutException):
        return "the hub did not answer in time (U2ZOO_TIMEOUT)"
    if isinstance(error, httpx2.TransportError):
        return f"the connection to {endpoint()} failed ({one_line(error, 120)})"
    cause = error.__cause__
    if isinstance(error, RuntimeError) and isinstance(cause, Exception):  # "Error while uploading …"
        return _reason(cause)
    return f"the hub's answer makes no sense ({one_line(error, 160)})"


def _of_status(status: int, response: Any) -> str:
    if status == 403:
        return f"HTTP 403: not allowed; {log_in()}"
    if status == 429:
        wait = str(response.headers.get("Retry-After", ""))
        return f"HTTP 429: too many requests; try again {f'in {wait} s' if wait.isdigit() else 'later'}"
    if status >= 500:
        return f"HTTP {status}: the hub is in trouble; try again later"
    said = response.headers.get("X-Error-Message") or ""
    return f"HTTP {status}" + (f": {' '.join(said.split())[:160]}" if said else "")


def without_secrets(text: str) -> str:
    """A server may send back what it was sent."""
    from huggingface_hub import get_token

    with contextlib.suppress(Exception):  # whatever hinders the library from finding one
        for secret in (os.environ.get("HF_TOKEN"), os.environ.get("HUGGING_FACE_HUB_TOKEN"), get_token()):
            text = text.replace(secret, "…") if secret else text
    text = re.sub(r"\b(hf|api_org|hf_oauth)_[A-Za-z0-9._-]{8,}", "…", text)
    return re.sub(r"([a-z][a-z0-9+.-]*://[^\s?'\"]+)\?[^\s'\"]+", r"\1", text)

"""One commit that holds all files, by the hub's own library over plain HTTP."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2net_zoo.downloads import offline, patience
from u2net_zoo.errors import OptionError, OutputError
from u2net_zoo.hub.hub_client import LOG_IN, client, endpoint, errors_of_the_hub
from u2net_zoo.hub.hub_name import MAIN, HubName

from .model_card import OF_CARDS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Destination", "Uploaded"]

USED_FOR = "publishing on the Hugging Face Hub"
Progress = Callable[[str, int], None]  # path in the repository, bytes sent of it


@dataclass(frozen=True)
class Uploaded:
    """What was made: the addresses of the repository and of the commit."""

    url: str
    commit: str
    files: tuple[str, ...]


class Destination:
    """A repository that may be written.

    Args:
        name: OWNER/NAME and the branch.
        private: it is to be seen by its owner alone; refused where it is public already.
        replace_readme: whatever README.md is there gives way to the card; otherwise only a card of `u2zoo publish`.

    Raises:
        OutputError: nobody is logged in, the token may not write, the repository is public and should not be, its
            README.md is somebody's own, or the hub does not answer. OptionError: U2ZOO_OFFLINE is set.
            MissingExtraError: the library is not installed.
    """

    def __init__(self, name: HubName, private: bool, replace_readme: bool = False):
        if offline():
            raise OptionError("U2ZOO_OFFLINE is set; publishing needs a network (--dry-run does not)")
        self.name, self.private = name, private
        self.api: HfApi = client(USED_FOR)
        with self._patient():
            self._check_token()
            self._check_visibility()
            if not replace_readme:
                self._check_readme()

    def commit(
        self, contents: Mapping[str, Path | str], message: str, progress: Progress = lambda path, sent: None
    ) -> Uploaded:
        """Makes the repository and the branch where there are none, and one commit on it; all of it or nothing.

        Raises:
            OutputError: the hub refuses; what was sent belongs to no commit then. A new repository stays, empty.
        """
        from huggingface_hub import CommitOperationAdd

        name = self.name
        with self._patient():
            self.api.create_repo(name.repo, private=self.private or None, exist_ok=True)
            if name.revision != MAIN:
                self.api.create_branch(name.repo, branch=name.revision, exist_ok=True)
            with _opened(contents, progress) as files:
                added = [CommitOperationAdd(path, file) for path, file in files.items()]
                for file in files.values():
                    if isinstance(file, _Watched):
                        file.sending = True
                made = self.api.create_commit(
                    name.repo, added, commit_message=message, revision=name.revision, num_threads=2
                )
        return Uploaded(f"{endpoint()}/{name.repo}", str(made.oid), tuple(contents))

    def _check_token(self) -> None:
        who = self.api.whoami()
        role = ((who.get("auth") or {}).get("accessToken") or {}).get("role")
        if role == "read":
            raise OutputError(f"{self.name}: the token may only read; make one that may write, then {LOG_IN}")

    def _check_visibility(self) -> None:
        from huggingface_hub.errors import RepositoryNotFoundError

        if not self.private:
            return
        try:
            found = self.api.model_info(self.name.repo, timeout=patience())
        except RepositoryNotFoundError:
            return
        if not found.private:
            raise OutputError(f"{self.name}: is public; --private makes a new repository so, name another")

    def _check_readme(self) -> None:
        """A card that this tool wrote says so in its metadata, in the line `u2zoo:`."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        for revision in dict.fromkeys((self.name.revision, MAIN)):  # a new branch begins as main is
            try:
                found = self.api.model_info(self.name.repo, revision=revision, timeout=patience())
            except RepositoryNotFoundError:
                return
            except RevisionNotFoundError:
                continue
            files = [each.rfilename for each in found.siblings or ()]
            card = found.card_data.to_dict() if found.card_data else {}
            if "README.md" in files and OF_CARDS not in card:
                raise OutputError(
                    f"{self.name}: README.md there was not written by `u2zoo publish`;"
                    " --replace-readme replaces it, or name another repository"
                )
            return

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """The hub's errors are ours, and no request waits for longer than U2ZOO_TIMEOUT without a byte."""
        import httpx2
        from huggingface_hub import get_session

        session, seconds = get_session(), patience()
        before, session.timeout = session.timeout, httpx2.Timeout(seconds)
        try:
            with errors_of_the_hub(str(self.name), OutputError):
                yield
        finally:
            session.timeout = before


class _Watched(io.BufferedReader):
    """A file that tells how much of it was read, once it is being sent. The library sends such files over HTTP."""

    def __init__(self, path: Path, told: Callable[[int], None]):
        super().__init__(io.FileIO(path))
        self.told, self.sending = told, False

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        if self.sending:
            self.told(self.tell())
        return content


@contextmanager
def _opened(contents: Mapping[str, Path | str], progress: Progress) -> Iterator[dict[str, Any]]:
    files: dict[str, Any] = {}
    try:
        for path, content in contents.items():
            if isinstance(content, str):
                files[path] = content.encode()
            else:
                files[path] = _Watched(content, partial(progress, path))
        yield files
    finally:
        for file in files.values():
            if isinstance(file, _Watched):
                file.close()

"""Files of the hub in the cache: fetched when they are first used, verified, whole or not at all.

A branch or a tag is asked for once; from then on it means the commit that it was, until `u2zoo fetch` asks again. The
cache of the hub's own library (HF_HOME) is neither read nor written.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .. import system
from ..catalog import File, home
from ..downloads import LARGEST, Fetched, locked, offline, patience, retrieve
from ..errors import DownloadError, NotANetworkError, OutputError, U2ZooError
from ..identify import identify, strip_prefix
from ..preprocessing import KNOWN_PROFILES
from ..transport import CAUSES, Downloader, Progress, silent
from .commit import Commit, RemoteFile, folder_of, known_commit, remember, sha256_once
from .file_choice import Model, choose, named_model
from .hub_client import client, endpoint, errors_of_the_hub, log_in, token, without_secrets
from .hub_name import HubName

__all__ = ["HubModel", "fetch_from_hub", "is_cached"]

MOST_FILES = 200  # of a folder; a SavedModel has 4, an .mlpackage 3 (2026-11-26)
USED_FOR = "reading from the Hugging Face Hub"
GENERIC = {"model", "pytorch_model", "weights", "checkpoint", "saved_model"}


@dataclass(frozen=True)
class HubModel:
    """A model of the hub in the cache.

    Attributes:
        name: it, with its file and the commit.
        path: the file or folder to read.
        licence, profile: what the repository's card says; None where it says nothing.
        cached: it was here already.
    """

    name: HubName
    path: Path
    sha256: str
    bytes: int
    verified: bool
    cached: bool
    licence: str | None = None
    profile: str | None = None

    @property
    def stem(self) -> str | None:
        """What files made from it are called, where its own name says nothing: as the repository is."""
        return self.name.repo.split("/")[1] if self.path.stem.split(".")[0] in GENERIC else None

    def fetched(self) -> Fetched:
        """As `downloads.fetch` tells it."""
        return Fetched(str(self.name), self.path, self.bytes, self.sha256, endpoint(), self.verified, self.cached)


def fetch_from_hub(name: HubName, *, refresh: bool = False, progress: Progress = silent) -> HubModel:
    """The model that `name` means, from the cache or from the hub.

    Args:
        refresh: ask the hub what a branch or tag is now, though it is known what it was; U2ZOO_OFFLINE forbids it.

    Raises:
        InputError: the repository has no such file, several, or none that may be a network.
        DownloadError: the hub does not give it, what came is not what it says, or U2ZOO_OFFLINE forbids to ask.
        OutputError: the cache cannot be written. MissingExtraError: the hub's library is not installed.
    """
    commit = None if refresh and not offline() else known_commit(name)
    if commit and (found := _cached(name, commit)):
        return found
    if offline():
        raise DownloadError(f"{name}: not in the cache ({home()}) and U2ZOO_OFFLINE is set; fetch it with a network")
    api = client(USED_FOR)
    if commit is None or not commit.has(name.file):  # a branch may have got the file since then
        commit = _ask(api, name)
    model = _chosen(api, name, commit)
    _check_size(name, model)
    try:
        folder = folder_of(name.repo)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            missing = [file for file in model.files if not file.is_intact(commit.place(file.path))]
            _fetch(name, commit, missing, folder / ".partial", progress)
            remember(name, commit)
            if not name.file:
                _note_choice(commit, model)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write there: {error.strerror or error}") from error
    return _described(name, commit, model, cached=not missing)


def is_cached(name: HubName) -> bool:
    """Whether `fetch_from_hub` would ask nobody."""
    commit = known_commit(name)
    return commit is not None and _cached(name, commit) is not None


def _cached(name: HubName, commit: Commit) -> HubModel | None:
    """What the cache holds, checked: a file that was damaged on the disk counts as missing."""
    chosen = name.file or _choice(commit)
    if not chosen or not commit.has(chosen):
        return None
    model = named_model(name.of(chosen), commit)
    if not all(file.is_intact(commit.place(file.path)) for file in model.files):
        return None
    return _described(name, commit, model, cached=True)


def _described(name: HubName, commit: Commit, model: Model, cached: bool) -> HubModel:
    whole = HubName(name.repo, model.path, commit.commit)
    verified = all(file.sha256 or file.git for file in model.files)
    places = [commit.place(file.path) for file in model.files]
    size = sum(path.stat().st_size for path in places)
    path = commit.place(model.path)
    return HubModel(whole, path, _digest(places), size, verified, cached, commit.licence, commit.profile)


def _digest(paths: list[Path]) -> str:
    """sha256 of a file; of several of the lines `sha256  name`, as `info` tells it."""
    ordered = sorted(paths, key=lambda path: path.name)
    rows = [(sha256_once(path, path.stat().st_mtime_ns), path.name) for path in ordered]
    text = "".join(f"{digest}  {name}\n" for digest, name in rows)
    return rows[0][0] if len(rows) == 1 else hashlib.sha256(text.encode()).hexdigest()


def _ask(api: Any, name: HubName) -> Commit:
    """What the hub says of the revision."""
    with errors_of_the_hub(str(name)):
        info = api.model_info(name.repo, revision=name.revision, files_metadata=True, timeout=patience())
        card = info.card_data.to_dict() if info.card_data else {}
        files = [{"path": each.rfilename, "bytes": each.size, **_hashes(each)} for each in info.siblings or ()]
        licence, profile = _licence(card), (card.get("u2zoo") or {}).get("profile")
        known = profile if profile in KNOWN_PROFILES else None
        return Commit.of(name.repo, {"commit": info.sha, "files": files, "licence": licence, "profile": known})


def _hashes(sibling: Any) -> dict[str, str | None]:
    if sibling.lfs:
        return {"sha256": sibling.lfs.sha256}
    return {"git": sibling.blob_id}


def _licence(card: dict[str, Any]) -> str | None:
    """The name that a card gives, of its own where it is none of the hub's list."""
    found = card.get("license")
    found = card.get("license_name") or found if found == "other" else found
    return found if isinstance(found, str) else None


def _chosen(api: Any, name: HubName, commit: Commit) -> Model:
    if name.file:
        return named_model(name, commit)

    def is_network(path: str) -> bool | None:
        return _is_network(api, HubName(name.repo, path, commit.commit))

    return choose(name, commit, is_network)


def _is_network(api: Any, name: HubName) -> bool | None:
    """Whether a safetensors file is of the family, by the names and shapes at its start; None: they cannot be read."""
    try:
        with errors_of_the_hub(str(name)):
            found = api.parse_safetensors_file_metadata(
                name.repo, name.file, revision=name.revision, timeout=patience()
            )
        shapes: dict[str, Any] = {key: tuple(tensor.shape) for key, tensor in found.tensors.items()}
        inside: dict[str, Any] = strip_prefix(shapes)
        identify(inside)
    except NotANetworkError:
        return False
    except U2ZooError:
        return None
    return True


def _check_size(name: HubName, model: Model) -> None:
    size, count = sum(file.bytes or 0 for file in model.files), len(model.files)
    if size > LARGEST:
        raise DownloadError(f"{name.of(model.path)}: {size} bytes, no network of the family has more than {LARGEST}")
    if count > MOST_FILES:
        raise DownloadError(
            f"{name.of(model.path)}: {count} files, no network of the family has more than {MOST_FILES}"
        )


def _fetch(name: HubName, commit: Commit, files: list[RemoteFile], partial: Path, progress: Progress) -> None:
    """`files` into the cache, when all of them are there."""
    total = sum(file.bytes or 0 for file in files) if all(file.bytes for file in files) else None
    done = 0
    for file in files:
        done += _download(name.of(file.path), commit, file, partial, LARGEST - done, _after(done, total, progress))
    for file in files:
        target = commit.place(file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        system.replace(partial / file.path, target)


def _after(before: int, total: int | None, progress: Progress) -> Progress:
    """The progress of one file, as that of all."""
    return lambda done, _: progress(before + done, total)


def _download(name: HubName, commit: Commit, file: RemoteFile, partial: Path, most: int, progress: Progress) -> int:
    """One file in `partial`, its content as the hub's list says; at most `most` bytes. Returns how many it has."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(commit.repo, file.path, revision=commit.commit, endpoint=endpoint())
    bearer = token(USED_FOR)
    downloader = Downloader(
        file.bytes, file.bytes or most, patience(), progress=progress, bearer=bearer, causes=_causes()
    )
    place = PurePosixPath(file.path)
    wanted = File(url, place.name, file.bytes, file.sha256)
    try:
        path = retrieve(wanted, partial / place.parent, downloader)
    except DownloadError as error:
        raise DownloadError(f"{name}: not fetched: {without_secrets(str(error))}") from None
    if not file.is_intact(path):
        raise DownloadError(f"{name}: not fetched: its content is not the one that the hub lists; try again")
    return path.stat().st_size


def _causes() -> dict[int, str]:
    gated = f"not public, or given to those who ask for it on its page at {endpoint()}; {log_in()}"
    return {**CAUSES, 401: gated, 403: gated, 404: "the repository has lost this file"}


def _choice(commit: Commit) -> str | None:
    """What was chosen of a repository of which no file was named."""
    note = commit.folder / "choice.txt"
    try:
        return note.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _note_choice(commit: Commit, model: Model) -> None:
    (commit.folder / "choice.txt").write_text(f"{model.path}\n", encoding="utf-8", newline="\n")

"""Measures rows of weights/catalog.toml, so that nobody types a hash, and checks the rows that are there.

    python scripts/add_weights.py --file u2netp.pth --url https://…/u2netp.pth     a row for a file that is here
    python scripts/add_weights.py --url https://…/u2netp.pth                       … for one that is fetched now
    python scripts/add_weights.py --file weights/u2net_nano.safetensors --kind bundled   … that comes with the project
    python scripts/add_weights.py --check [FOLDER …]                               the whole catalog

A row goes to stdout, to be put under `[[NAME.sources]]`; redirect it into the catalog with `>>`. `--check` reads the
catalog, holds profiles and parameter counts against the code, and bytes and hashes against every file of the catalog
that lies in the cache or in a FOLDER. It ends with 1 when something differs.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from u2net_zoo.catalog import KINDS, Entry, File, load_catalog
from u2net_zoo.errors import U2ZooError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.reading import sha256_of
from u2net_zoo.transport import Downloader

LARGEST = 4 << 30


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="*", metavar="FOLDER", type=Path, help="check the catalog")
    parser.add_argument("--file", type=Path, help="a file to measure")
    parser.add_argument("--url", help="where the file is published; fetched when --file is not given")
    parser.add_argument("--name", help="name of the entry")
    parser.add_argument("--kind", choices=KINDS, default="http")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.check is not None:
            return check(chosen.check)
        bundled = chosen.kind == "bundled"
        if bundled and (chosen.url or not chosen.file):
            parser.error("a bundled file has --file, and no --url")
        if not (bundled or chosen.url):
            parser.error("--url is missing: a row says where the file is published")
        print(measured(chosen.name or "NAME", chosen.url, chosen.kind, chosen.file))
    except (U2ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measured(name: str, url: str | None, kind: str, path: Path | None) -> str:
    """A `sources` row for the file at `url`: measured on `path`, or on what the address answers."""
    if path:
        return row(name, url, kind, path, path.name)
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder) / "weights"
        Downloader(None, LARGEST, patience=30, drive=kind == "gdrive")(url, fetched)
        return row(name, url, kind, fetched, Path(urlsplit(url).path).name)


def row(name: str, url: str | None, kind: str, path: Path, file: str) -> str:
    size, digest = path.stat().st_size, sha256_of(path)
    place = [f'url = "{url}"'] if url else []
    fields = (f'kind = "{kind}"', *place, f'file = "{file}"', f"bytes = {size}", f'sha256 = "{digest}"')
    return "\n".join((f"\n[[{name}.sources]]", *fields))


def check(folders: list[Path]) -> int:
    """Prints every difference; 0 when there is none."""
    catalog = load_catalog()
    wrong, measured_files, absent = [], 0, 0
    for entry in catalog.values():
        wrong += list(against_code(entry))
        for file, own in ((file, entry.folder(source)) for source in entry.sources for file in source.files):
            places = [folder / file.file for folder in (own, *folders)]
            found = [path for path in places if path.is_file()]
            absent += not found
            measured_files += len(found)
            wrong += [f"{entry.name}: {problem}" for path in found for problem in against_file(file, path)]
    print(*wrong, f"{len(catalog)} entries, {measured_files} files measured, {absent} not here", sep="\n")
    return 1 if wrong else 0


def against_code(entry: Entry) -> Iterator[str]:
    if entry.profile not in PROFILES:
        yield f"{entry.name}: no profile {entry.profile!r}"
    arch = entry.arch()
    if arch and entry.parameters not in (None, arch.parameters()):
        yield f"{entry.name}: parameters: the catalog says {entry.parameters}, {arch.name} has {arch.parameters()}"


def against_file(file: File, path: Path) -> Iterator[str]:
    size = path.stat().st_size
    if file.bytes not in (None, size):
        yield f"{path}: {size} bytes, the catalog says {file.bytes}"
    elif file.sha256 not in (None, digest := sha256_of(path)):
        yield f"{path}: sha256 {digest}, the catalog says {file.sha256}"


if __name__ == "__main__":
    sys.exit(main())

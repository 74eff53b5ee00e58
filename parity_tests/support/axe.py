"""axe-core, which finds what people cannot use by keyboard or screen reader, run in a page that is open.

It is fetched from npm as onnxruntime-web is: 0.7 MB, pinned by its hash. It is MPL-2.0, so nothing of it stands in this
repository. Python packages that carry it are years old, or need Playwright (168 MB).
"""

import functools
import os
import tarfile
from pathlib import Path

import pytest
from support.browser import Browser

from u2net_zoo import system
from u2net_zoo.catalog import File, home
from u2net_zoo.downloads import fetch_pinned
from u2net_zoo.errors import DownloadError

VERSION = "4.14.1"  # the newest on 2026-11-26
REGISTRY = "https://registry.npmjs.org"
ARCHIVE = File(
    file=f"axe-core-{VERSION}.tgz",
    bytes=708_405,
    sha256="e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
)
SCRIPT = "axe.min.js"
# Everything that it knows, WCAG 2.2's size of targets and what is good practice beside WCAG included.
RUN = """axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}).then(
    ({violations}) => violations.flatMap(({impact, id, help, nodes}) =>
        nodes.map(({target}) => `${impact}: ${id} (${help}): ${target.join(' ')}`)))"""


@functools.cache
def script() -> str:
    """axe-core's source. Skips where it cannot be fetched."""
    folder = home() / f"axe-core-{VERSION}"
    registry = os.environ.get("U2ZOO_NPM") or os.environ.get("npm_config_registry") or REGISTRY  # noqa: SIM112 - npm's own
    try:
        if not (folder / SCRIPT).exists():
            fetch_pinned("axe-core", ARCHIVE, f"{registry.rstrip('/')}/axe-core/-/{ARCHIVE.file}", folder, unpack)
    except DownloadError as error:
        pytest.skip(f"needs axe-core: {error}")
    return (folder / SCRIPT).read_text(encoding="utf-8")


def unpack(archive: Path, folder: Path) -> None:
    """The script alone, whole or not at all; the archive's hash was checked."""
    with tarfile.open(archive, "r:gz") as tar:
        content = tar.extractfile(f"package/{SCRIPT}").read()
    partial = archive.with_name(SCRIPT)
    partial.write_bytes(content)
    system.replace(partial, folder / SCRIPT)


def findings(page: Browser) -> list[str]:
    """What axe-core objects to, each with its impact (minor to critical), its rule and the element."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(script() + "; null")
    return page.evaluate(RUN)

"""Photographs and cut-outs for `train_nano.py` out of packages that a Debian 12 machine can install.

    python scripts/nano_packages.py out/packages      # 490 MB of packages, unpacked, installed nowhere

Each package is checked against its hash here. Nothing of it is committed: names, licences and hashes are.

Cut-outs are the stamps of Tux Paint: photographs with true alpha, beside drawings. A stamp is taken for a photograph if
at most FLAT of its neighbouring solid pixels are equal and its name does not begin as that of a drawing does, which
costs some photographs (penguin, butterflyfish).

Who learns and who tests was fixed before the first run, by a rule that knows nothing of the pictures: kinds (the first
word of a stamp's name) in the order of their SHA-256; the first TEST cut-outs' whole kinds are the test's, the next
DEVELOPMENT ones' the development set's. Backgrounds the same, one by one. So no picture is in two parts; but the parts
are of one make, and an orange is tested where a mandarine was learnt.

Photographs in which something stands out, without a mask, are named one by one (SCENES) or are those of whole
activities of GCompris (ACTIVITIES), which come as one resource file each. Of these, WATCHED are the development set's,
by hash.
"""

import argparse
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from u2net_zoo.files import staged

__all__ = ["Packages", "fetch"]

PACKAGES = {  # name -> (version, licence of the pictures, SHA-256)
    "tuxpaint-stamps-default": (
        "2022.06.04-1",
        "GPL-2",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    ),
    "tuxpaint-data": (
        "1:0.9.28-sdl2-1",
        "GPL-2+",
        "f5d0de8f9a70d2efc1241d19f26168cb8bf279f1b77abd3631e7a1a55c40e5e5",
    ),
    "lomiri-wallpapers-16.04": (
        "20.04.0-2",
        "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
    ),
    "mate-backgrounds": (
        "1.26.0-1",
        "CC-BY-SA-4.0, GPL-2+",
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
    ),
    "plasma-workspace-wallpapers": (
        "4:5.27.5-2",
        "GPL-2+",
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
    ),
    "opencv-doc": (
        "4.6.0+dfsg-12",
        "Apache-2.0, BSD-3-Clause",
        "4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
    ),
    "gcompris-qt-data": (
        "3.1-2",
        "public domain, CC0-1.0, CC-BY-1.0 to 3.0, CC-BY-SA-2.0 to 4.0, GFDL-NIV-1.2+, GPL-2+, GPL-3+",
        "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    ),
}
STAMPS = "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
FLAT = 0.4
SOLID = 2000  # pixels that a cut-out has at least
DRAWN_FOLDERS = ("cartoon", "symbols", "flags", "roadsigns", "houses", "planets", "naturalforces", "hanukkah")
DRAWN_FOLDERS += ("newyears",)
DRAWN = ("bluebird", "bunny", "butterfly", "button", "chick", "daffodil", "eye", "highlighter", "pen", "santa", "skull")
DRAWN += ("bow", "stocking", "dreydl", "moon", "sedan_police", "holiday_candle", "glass", "menorah")
TEST, DEVELOPMENT = 40, 24
RESOURCES = "gcompris-qt-data/usr/share/gcompris-qt/rcc"
ACTIVITIES = "categorization erase explore_farm_animals explore_monuments explore_world_animals explore_world_music"
SHORT = 200  # pixels of the shorter side of a photograph; what is smaller is a button
WATCHED = 32  # photographs of the activities that the development set takes

# Photographs in which little stands out: what objects are put on. Two of the test's, EveningGlow and Grey, hold boats
# and a jetty.
BACKGROUNDS = {
    "tuxpaint-data/usr/share/tuxpaint/templates": (
        "burnt_bark cliff corn_maze mossy_bark mossy_log mudstone ocean_splash ocean_waves redwoods_above rocks sheep "
        "spiders_web sun_behind_clouds sun_behind_leaves trees_above trees_at_dusk wool_mill_machine"
    ),
    "lomiri-wallpapers-16.04/usr/share/backgrounds": (
        "Bridge_by_Sander_Klootwijk aitzgorri_by_Aitzol_Berasategi life_by_Aitzol_Berasategi "
        "picosdeeuropa_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi "
        "analogpattern_by_Peter_Nerlich"
    ),
    "mate-backgrounds/usr/share/backgrounds/mate/nature": "Blinds Dune GreenMeadow RainDrops Storm Wood",
    "plasma-workspace-wallpapers/usr/share/wallpapers": (
        "BytheWater ColdRipple ColorfulCups DarkestHour EveningGlow FallenLeaf Grey Path summer_1am"
    ),
    "opencv-doc/usr/share/doc/opencv-doc/examples/data": (
        "aero1 board building graf1 home leuvenA rubberwhale1 starry_night"
    ),
}
# Photographs with something that stands out: the teacher's masks of them are learnt.
SCENES = {
    "tuxpaint-data/usr/share/tuxpaint/templates": "jellyfish lighthouse",
    "lomiri-wallpapers-16.04/usr/share/backgrounds": (
        "Dragonfly_by_Bolly Picture_0B_by_freespace Picture_1A_by_freespace Wine_by_Jakkub_Mede "
        "free_by_Peter_Nerlich friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich"
    ),
    "mate-backgrounds/usr/share/backgrounds/mate/nature": "Aqua FreshFlower Garden LadyBird TwoWings YellowFlower",
    "plasma-workspace-wallpapers/usr/share/wallpapers": "Autumn Kite OneStandsOut",
    "opencv-doc/usr/share/doc/opencv-doc/examples/data": (
        "aloeL apple baboon basketball1 box box_in_scene butterfly chicky_512 ela_original fruits left01 left05 "
        "licenseplate_motion messi5 orange right03 smarties squirrel_cls stuff sudoku"
    ),
    "opencv-doc/usr/share/doc/opencv-doc/examples/alphamat/input_images": "plant",
    "opencv-doc/usr/share/doc/opencv-doc/examples/dnn_superres": "butterfly",
    "opencv-doc/usr/share/doc/opencv-doc/examples/reg": "home",
}


def fetch(folder: Path) -> None:
    """Downloads what is missing with `apt-get download`, checks it and unpacks it into `folder`/NAME."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (version, _, digest) in PACKAGES.items():
        if (folder / name).is_dir():
            continue
        with staged(folder / name) as unpacked:
            unpacked.mkdir()
            with tempfile.TemporaryDirectory() as downloads:
                got = subprocess.run(["apt-get", "download", "-q", f"{name}={version}"], cwd=downloads, check=False)
                archive = next(Path(downloads).glob("*.deb"), None)
                if got.returncode or archive is None:
                    raise SystemExit(
                        f"{name} {version}: apt-get has no such package; Debian 12 has, after apt-get update"
                    )
                found = hashlib.sha256(archive.read_bytes()).hexdigest()
                if found != digest:
                    raise SystemExit(f"{archive.name}: SHA-256 {found}, expected {digest}; its pictures may be others")
                subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
            for resource in unpacked.rglob("*.rcc"):
                for number, picture in enumerate(webp_pictures(resource.read_bytes())):
                    resource.with_name(f"{resource.stem}-{number:03}.webp").write_bytes(picture)


def webp_pictures(resource: bytes) -> list[bytes]:
    """The WebP files that a Qt resource file holds as they are: a RIFF header, whose length counts what follows it."""
    starts = [found.start() for found in re.finditer(rb"RIFF....WEBP", resource, re.DOTALL)]
    return [resource[at : at + 8 + int.from_bytes(resource[at + 4 : at + 8], "little")] for at in starts]


@dataclass(frozen=True)
class Packages:
    """The unpacked packages of `folder`: files by what they are for."""

    folder: Path

    @cache  # noqa: B019 (one instance a process)
    def cut_outs(self) -> dict[str, list[Path]]:
        """`learn`, `development` and `test` -> stamps."""
        stamps = [path for path in sorted((self.folder / STAMPS).rglob("*.png")) if self._is_photograph(path)]
        kinds: dict[str, list[Path]] = {}
        for path in stamps:
            kinds.setdefault(re.split(r"[-_\d]", path.stem.lower())[0], []).append(path)
        parts: dict[str, list[Path]] = {"test": [], "development": [], "learn": []}
        for kind in sorted(kinds, key=_digest):
            part = next((p for p, n in (("test", TEST), ("development", DEVELOPMENT)) if len(parts[p]) < n), "learn")
            parts[part] += kinds[kind]
        return parts

    def backgrounds(self) -> dict[str, list[Path]]:
        """`learn`, `development` and `test` -> photographs: a fifth for the test, a tenth for development."""
        paths = sorted(self._listed(BACKGROUNDS), key=lambda path: _digest(path.name + path.parts[-4]))
        test, rest = len(paths) // 5, len(paths) // 5 + len(paths) // 10
        return {"test": paths[:test], "development": paths[test:rest], "learn": paths[rest:]}

    def scenes(self) -> dict[str, list[Path]]:
        """`learn` and `development` -> photographs."""
        paths = sorted(self._of_activities(), key=lambda path: _digest(path.name))
        return {"development": paths[:WATCHED], "learn": [*self._listed(SCENES), *paths[WATCHED:]]}

    def _of_activities(self) -> Iterable[Path]:
        for activity in ACTIVITIES.split():
            for path in sorted((self.folder / RESOURCES).rglob(f"{activity}-*.webp")):
                with Image.open(path) as picture:
                    if picture.mode == "RGB" and min(picture.size) >= SHORT:
                        yield path

    def _listed(self, lists: dict[str, str]) -> Iterable[Path]:
        for folder, names in lists.items():
            for name in names.split():
                stem = f"{name}/contents/images/*x1[0-9][0-9][0-9]" if folder.endswith("/wallpapers") else name
                yield max((self.folder / folder).glob(f"{stem}.[jp][pn]g"), key=lambda path: path.stat().st_size)

    def _is_photograph(self, path: Path) -> bool:
        parts = path.relative_to(self.folder / STAMPS).parts
        if set(DRAWN_FOLDERS) & set(parts) or path.stem.endswith("_mirror") or path.stem.lower().startswith(DRAWN):
            return False
        picture = np.asarray(Image.open(path).convert("RGBA"))
        solid = picture[..., 3] > 250
        beside = solid[:, 1:] & solid[:, :-1]
        if solid.sum() < SOLID or not beside.any():
            return False
        return bool((picture[:, 1:, :3] == picture[:, :-1, :3]).all(-1)[beside].mean() <= FLAT)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    fetch(folder)
    packages = Packages(folder)
    for part, paths in packages.cut_outs().items():
        print(f"{part}: {len(paths)} cut-outs: {' '.join(path.stem for path in paths)}")
    for part, paths in packages.backgrounds().items():
        print(f"{part}: {len(paths)} backgrounds")
    for part, paths in packages.scenes().items():
        print(f"{part}: {len(paths)} scenes")


if __name__ == "__main__":
    main()

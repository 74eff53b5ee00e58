"""The examples of every command's help, and a folder in which they can be run."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from PIL import Image
from support.data import NANO

from converters import convert

# What cannot be run here is parsed alone: the example -> why.
PARSED = {
    "u2zoo bench u2netp --plot speed.png": "fetches weights",
    "u2zoo fetch u2netp": "fetches weights",
    "u2zoo human group.jpg -o people.png": "fetches weights",
    "u2zoo human photos -o people": "fetches weights",
    "u2zoo sky beach.jpg -o sky.png": "fetches weights",
    "u2zoo sky photos -o skies --recursive": "fetches weights",
    "u2zoo clothes person.jpg -o clothes.png": "fetches weights",
    "u2zoo clothes photos -o clothes": "fetches weights",
    "u2zoo clothes street.jpg -o map.png --model my.safetensors": "takes weights of one's own",
    "u2zoo portrait person.jpg -o drawing.png": "fetches weights",
    "u2zoo portrait faces -o drawings --ready": "fetches weights",
    "u2zoo composite person.jpg -o composite.png": "fetches weights",
    "u2zoo composite person.jpg -o composite.png --alpha 0.7 --sigma 4": "fetches weights",
    "u2zoo train --images photos --masks masks -o run --finetune u2netp": "fetches weights, and trains for hours",
    "u2zoo train --images photos --masks maps --classes ground,road,sky -o run": "trains for hours",
    "u2zoo eval predicted --masks masks --classes background,object": "the folders hold masks, not maps of classes",
    "u2zoo train --images photos --masks masks -o run --resume run": "goes on with a run of hours",
    "u2zoo serve": "runs until it is ended",
    "u2zoo serve --model u2netp --host 0.0.0.0 --port 8080": "fetches weights, and runs until it is ended",
    "u2zoo watch incoming cut": "runs until it is ended",
    "u2zoo watch incoming masks --app mask --poll 5 --model u2netp.pth": "runs until it is ended",
    "u2zoo publish out --to hf:me/u2netp --dry-run --stage staged": "names a folder of proved files",
    "u2zoo publish out --to hf:me/u2netp --private": "asks the hub",
    "u2zoo publish out --to hf:me/mine --source my.pth --licence mit": "asks the hub",
    "u2zoo tools make onnx2tf": "fetches packages",
    "u2zoo tools make onnx2tf --json": "fetches packages",
    "u2zoo tools remove onnx2tf": "removes what that made",
    "u2zoo tools remove onnx2tf --json": "removes what that made",
}
# Those that start several frameworks, or run for long.
LONG = {
    "u2zoo eval predicted --masks masks",
    "u2zoo bench u2net_nano --only ncnn,mnn --runs 3",
    "u2zoo cutout photos -o cutouts --matting closed-form",
    "u2zoo convert u2net_nano --to onnx,tflite,coreml -o models",
    "u2zoo train --images photos --masks masks --arch u2net_nano --check",
}


def commands() -> Iterator[tuple[str, Any]]:
    """(`convert`, its click command), and so on; those below `tools` are `tools make` …"""
    from u2net_zoo.cli.commands import app

    yield from _below(typer.main.get_command(app), ())


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if path:
        yield " ".join(path), command
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _below(command.get_command(None, name), (*path, name))


def lines_of(command: Any) -> list[str]:
    """The examples, as help shows them."""
    return [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  u2zoo ")]


def words_of(line: str) -> tuple[list[str], str | None, str | None]:
    """What follows `u2zoo`, and the files that `<` and `>` name."""
    _, *words = shlex.split(line)
    streams: dict[str, str | None] = {"<": None, ">": None}
    for sign in streams:
        if sign in words:
            at = words.index(sign)
            streams[sign] = words[at + 1]
            del words[at : at + 2]
    return words, streams["<"], streams[">"]


def fill(folder: Path, artifact: Path, photographs: dict[str, Image.Image]) -> None:
    """Everything that the examples name."""
    from support.videos import film

    for name in ("photos", "masks", "predicted"):
        (folder / name).mkdir()
    for name, image in photographs.items():
        small = image.resize((160, 120))
        small.save(folder / f"{name}.jpg")
        small.save(folder / "photos" / f"{name}.jpg")
        for place in ("masks", "predicted"):
            small.convert("L").point(lambda level: 255 * (level > 100)).save(folder / place / f"{name}.png")
    shutil.copyfile(artifact, folder / "u2net_nano.onnx")
    convert(NANO, "pth", folder, name="my")
    frame = next(iter(photographs.values())).convert("RGB").resize((1280, 720))
    (folder / "frames.rgb").write_bytes(2 * frame.tobytes())
    film(folder / "clip.mp4", times=(0, 40, 80))

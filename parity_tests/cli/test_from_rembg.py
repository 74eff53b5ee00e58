"""docs/from-rembg.md: nothing of rembg is missing in it, and what it tells to type is there to be typed."""

import re

import pytest
import typer
from support.data import ROOT

from u2net_zoo.cli.commands import app
from u2net_zoo.rembg_models import CUSTOM, ELSEWHERE, MODELS

PAGE = (ROOT / "docs" / "from-rembg.md").read_text(encoding="utf-8")
# Of rembg 2.0.86, by its help.
COMMANDS = ("i", "p", "s", "b", "d", "m")
OPTIONS = (
    "-m", "--model", "-a", "--alpha-matting", "-af", "--alpha-matting-foreground-threshold", "-ab",
    "--alpha-matting-background-threshold", "-ae", "--alpha-matting-erode-size", "-om", "--only-mask", "-ppm",
    "--post-process-mask", "-dc", "--decontaminate", "-vm", "--vitmatte", "-bgc", "--bgcolor", "-x", "-w", "--watch",
    "-d", "--delete_input", "--accept-usage-cost", "-o", "--output_specifier", "-p", "--port", "-h", "--host", "-l",
    "--log_level", "-t", "--threads", "--no-ui",
)  # fmt: skip
PARAMETERS = ("url", "file", "model", "a", "af", "ab", "ae", "om", "ppm", "dc", "vm", "bgc", "extras")
VARIABLES = ("U2NET_HOME", "REMBG_HOME", "MODEL_CHECKSUM_DISABLED", "OMP_NUM_THREADS", "WITHOUTBG_API_KEY")


def in_code(text: str) -> bool:
    return bool(re.search(rf"`(?:[^`]*[ '\"(])?{re.escape(text)}(?:[ =.,'\")][^`]*)?`", PAGE))


@pytest.mark.parametrize(
    "text", [*(f"rembg {name}" for name in COMMANDS), *OPTIONS, *PARAMETERS, *VARIABLES, "remove", "new_session"]
)
def test_everything_of_rembg_is_in_a_table(text):
    assert in_code(text)


@pytest.mark.parametrize("name", [*MODELS, *CUSTOM, *ELSEWHERE])
def test_every_model_is_named(name):
    assert in_code(name) or (name.startswith("birefnet-") and in_code("birefnet-*"))


TYPED = re.findall(r"u2zoo ([a-z]+)((?: [^`|\n]*)?)", PAGE)


@pytest.mark.parametrize("name", sorted({name for name, _ in TYPED}))
def test_every_command_that_is_told_exists_with_its_options(name):
    group = typer.main.get_command(app)
    command = group.get_command(None, name)
    assert command is not None
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    if name == "watch":  # hands the others on
        known |= {option for param in group.get_command(None, "cutout").params for option in param.opts}
    typed = {option for other, rest in TYPED if other == name for option in re.findall(r"(?<= )--?[a-z][a-z-]*", rest)}
    assert typed <= known | {"--help"}

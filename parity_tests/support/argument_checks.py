"""Whether a command could start: by its own parser, or by what its script, the Makefile or pyproject.toml states."""

import ast
import itertools
import re
import shlex
import shutil
import subprocess
import tomllib
from functools import cache

from support.data import ROOT

PLACES = ("…", "...")  # what stands for anything
OF_OTHERS = ("cd", "source", "cat", "curl", "ffmpeg", "npm", *PLACES)  # their arguments are not looked at
OTHERS = {"--constraint", "--help", "--version", "--debug"}  # of pip, and of the program itself


@cache
def _program():
    import typer

    from u2net_zoo.cli.commands import app

    return typer.main.get_command(app)


def _command(words: list[str]):
    """The command of `u2zoo` that the words name, and the words that are left; or what is wrong."""
    found, name = _program(), "u2zoo"
    while hasattr(found, "list_commands") and words and not words[0].startswith("-"):
        inner = found.get_command(None, words[0])
        if inner is None:
            return f"{name} has no command {words[0]}", words
        found, name, words = inner, words[0], words[1:]
    return found, words


def _options(command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | OTHERS


@cache
def known_options() -> set[str]:
    """Every long option of the program and of the scripts."""
    waiting, found = [_program()], set(OTHERS)
    while waiting:
        command = waiting.pop()
        found |= _options(command)
        if hasattr(command, "list_commands"):
            waiting += [command.get_command(None, name) for name in command.list_commands(None)]
    return found.union(*(_stated(path.relative_to(ROOT).as_posix()) for path in (ROOT / "scripts").glob("*.py")))


def _stated(script: str) -> set[str]:
    """The options that a script hands to argparse."""
    calls = [node for node in ast.walk(ast.parse((ROOT / script).read_text("utf-8"))) if isinstance(node, ast.Call)]
    adding = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    named = {arg.value for call in adding for arg in call.args if isinstance(arg, ast.Constant)}
    negated = {f"--no-{name[2:]}" for name in named if name.startswith("--")}
    return named | (negated if "BooleanOptionalAction" in (ROOT / script).read_text("utf-8") else set()) | OTHERS


def programs_option(span: str) -> str:
    """`--size` of `--size 320,512x384` or of `--no-minmax`, which is the other side of an option."""
    return re.split(r"[\s=]", span)[0]


def shaped_like_a_command(span: str) -> bool:
    return span.startswith(("u2zoo ", "make ", "scripts/")) and not span.endswith("/") and "://" not in span


def unknown_in(line: str) -> str:
    """What is wrong with a command that a sentence shortens; empty when nothing is."""
    words = [word for word in shlex.split(line, comments=True) if word not in PLACES]
    options = [programs_option(word) for word in words if word.startswith("--")]
    if words[0] == "u2zoo":
        command, _ = _command(words[1:])
        if isinstance(command, str):
            return command
        allowed, name = _options(command), command.name
    elif words[0] == "make":
        return next(
            (f"make has no target {word}" for word in words[1:] if word not in _targets() and "=" not in word), ""
        )
    else:
        if not (ROOT / words[0]).is_file():
            return f"there is no {words[0]}"
        allowed, name = (_stated(words[0]) if words[0].endswith(".py") else set(options)), words[0]
    return next((f"{name} has no option {option}" for option in options if option not in allowed), "")


@cache
def _targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M))


def parse(words: list[str]) -> str:
    """What is wrong with a whole command, which is not started; empty when nothing is."""
    words = [word.removeprefix(".venv/bin/") for word in words]
    if words[0] in ("python", "python3") and words[1].endswith(".py"):
        words = words[1:]
    if words[0] == "u2zoo":
        return _parsed(words[1:])
    if words[0] in ("python", "python3") and words[1:3] in (["-m", "pytest"], ["-m", "venv"]):
        return next((f"there is no {w}" for w in words[3:] if "/" in w and not (ROOT / w.split("::")[0]).exists()), "")
    if words[0].startswith("scripts/") or (words[0] == "make" and shutil.which("make") is None):
        return unknown_in(shlex.join(words))
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        return done.stderr if done.returncode else ""
    if words[:2] == ["pip", "install"] or words[0] in ("uv", "pipx") or words[1:4] == ["-m", "pip", "install"]:
        return _installs(words)
    if words[:2] == ["git", "clone"] or words[0] in OF_OTHERS:
        return ""
    return f"nothing here parses {words[0]!r}"


def _parsed(words: list[str]) -> str:
    """`u2zoo`'s own parser, without its callbacks' work."""
    command, rest = _command(words)
    if isinstance(command, str):
        return command
    parent = _program().make_context("u2zoo", words[:1], resilient_parsing=True)
    try:
        command.make_context(command.name, list(rest), parent=parent)
    except Exception as error:  # whatever the parser raises is what is wrong
        return str(error) or type(error).__name__
    return ""


def _installs(words: list[str]) -> str:
    """Extras that are asked for exist, and so do the constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {
        extra.strip() for word in words for listed in re.findall(r"\[(.*?)\]", word) for extra in listed.split(",")
    }
    unknown = sorted(asked - set(project["optional-dependencies"]))
    if unknown:
        return f"there is no extra {unknown[0]}"
    files = [after for word, after in itertools.pairwise(words) if word in ("-c", "--constraint")]
    return next((f"there is no {name}" for name in files if not (ROOT / name).is_file()), "")


def taken(words: list[str], options: str) -> str:
    """Of `--size 64 --steps 2`, what the command that the words name has and is not told yet."""
    command, _ = _command(words)
    pairs = re.findall(r"(--[\w-]+)((?: (?!--)\S+)*)", options)
    return " ".join(
        name + value for name, value in pairs if not isinstance(command, str) and name in _options(command) - set(words)
    )

"""Resolves the list of pins of a tool: converters/tools/NAME.txt, which nobody types.

    python scripts/pin_tool.py onnx2tf==1.29.24 sng4onnx --without libclang … --on-cpu tensorflow=tensorflow-cpu

pip resolves what is named; what that needs is followed from package to package, and stops at those after `--without`:
an environment is made from the list without looking at what packages say they need. `--on-cpu A=B`: where B has
wheels, Linux and Windows on x86-64, B is taken for A. The list goes to stdout; its first lines are the command.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from typing import Any

from packaging.requirements import Requirement

X86 = 'platform_machine in "x86_64 AMD64" and sys_platform != "darwin"'
OTHERS = 'platform_machine not in "x86_64 AMD64" or sys_platform == "darwin"'
WIDTH = 118


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", help="what the tool is")
    parser.add_argument("--without", nargs="+", default=[], help="what it does not use")
    parser.add_argument("--on-cpu", nargs="+", default=[], metavar="A=B", help="a smaller package of the same modules")
    chosen = parser.parse_args(arguments)
    report = resolve(chosen.packages)
    if report is None:
        return 2
    needed = followed(chosen.packages, report, {plain(name) for name in chosen.without})
    smaller = dict(pair.split("=") for pair in chosen.on_cpu)
    print(*head(arguments or sys.argv[1:]), *lines(needed, report, smaller), sep="\n")
    return 0


def resolve(packages: list[str]) -> dict[str, Any] | None:
    """What pip would install: normalised name -> metadata. None when it cannot; it says why itself."""
    options = ["--quiet", "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", "-"]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *options, *packages], stdout=subprocess.PIPE)
    if done.returncode:
        return None
    found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {plain(metadata["name"]): metadata for metadata in found}


def followed(packages: list[str], report: dict[str, Any], without: set[str]) -> set[str]:
    """Normalised names of `packages` and of what they need here, except for what only those in `without` need."""
    seen: set[str] = set()
    pending = [plain(Requirement(text).name) for text in packages]
    while pending:
        name = pending.pop()
        if name in seen | without:
            continue
        seen.add(name)
        needs = map(Requirement, report[name].get("requires_dist", []))
        pending += [plain(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return seen


def lines(names: set[str], report: dict[str, Any], smaller: dict[str, str]) -> list[str]:
    found = []
    for name in sorted(names):
        version = report[name]["version"]
        if name in smaller:
            found += [f"{name}=={version} ; {OTHERS}", f"{smaller[name]}=={version} ; {X86}"]
        else:
            found.append(f"{name}=={version}")
    return sorted(found)


def head(arguments: list[str]) -> list[str]:
    """The command, as comments that can be copied without their first characters."""
    rows = ["python scripts/pin_tool.py"]
    for word in map(shlex.quote, arguments):
        if len(rows[-1]) + len(word) > WIDTH - 4:
            rows[-1] += " \\"
            rows.append(" ")
        rows[-1] += f" {word}"
    return ["# Made by this command, not typed:", *(f"# {row}" for row in rows)]


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())

"""Who imports whom, read from the source: every import at any depth, strings that are given to `import_module` too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.data import ROOT

PLACE = re.compile(r"^\.?[a-z_][\w.]*(:\w+)?$")


def modules(folder: str) -> dict[str, Path]:
    """Dotted name -> file, of a package of this project."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of `known` that the module `name` takes something from."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    taken = {_module(each, known) for node in ast.walk(tree) for each in _imported(node, package)}
    named = {each for node in ast.walk(tree) for each in _in_string(node, package) if each in known}
    return {module for module in taken | named if module and module != name}


def at_start(path: Path) -> Iterator[str]:
    """First parts of the names of what a module imports when it is imported itself."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _only_for_types(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]
        pending.extend(ast.iter_child_nodes(node))


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other (strongly connected, two or more)."""
    reach = {name: _reached(name, arrows) for name in arrows}
    found: list[set[str]] = []
    for name in arrows:
        circle = {other for other in reach[name] if name in reach.get(other, set())}
        if len(circle) > 1 and circle not in found:
            found.append(circle)
    return found


def _reached(name: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    pending = [name]
    while pending:
        for other in arrows.get(pending.pop(), set()) - seen:
            seen.add(other)
            pending.append(other)
    return seen


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """Absolute dotted names that an import statement takes."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _in_string(node: ast.AST, package: str) -> Iterator[str]:
    """What a string with the look of a module's name stands for: `.ops`, `a.b`, `onnx_format:Onnx`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and PLACE.match(node.value):
        place, colon, _ = node.value.partition(":")
        if not colon and "." not in place:
            return  # a word, which may happen to be a module's name
        yield from (_absolute(each, package) for each in (place, f".{place}") if each.strip("."))


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    kept = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*kept, name.lstrip(".")]).rstrip(".")


def _module(name: str, known: dict[str, Path]) -> str | None:
    """The longest beginning of a dotted name that is a module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (module := ".".join(parts[:length])) in known:
            return module
    return None

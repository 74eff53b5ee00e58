"""The notebooks: what their cells show, whether that belongs to their code, and running them anew."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from support.data import ROOT
from support.shown_output import FIGURE, agree

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 600_000  # bytes
PATIENCE = 900  # seconds for a cell
PICTURES = ("image/jpeg", "image/png")
# How far a figure may be from the committed one: errors of float32 hang on the processor, masks hardly.
TIMES, SHARE, SPARE = 10.0, 0.05, 0.02


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def digest(notebook: dict[str, Any]) -> str:
    """Of all code: outputs that were shown by other code have another."""
    code = "\n\n".join(text(cell["source"]) for cell in code_cells(notebook))
    return hashlib.sha256(code.encode()).hexdigest()


def shown(cell: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, text) of each output; a picture has no text. What libraries say on stderr is not counted."""
    found = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream" and output["name"] == "stderr":
            continue
        data = output.get("data", {})
        picture = next((kind for kind in PICTURES if kind in data), None)
        words = text(output.get("text", "")) or text(data.get("text/plain", ""))
        found.append((picture or output["output_type"], "" if picture else words))
    return found


def differences(committed: dict[str, Any], fresh: dict[str, Any]) -> list[str]:
    """Where a notebook that was run shows other things than the committed one: kinds, words, counts, figures."""
    found = []
    for before, after in zip(code_cells(committed), code_cells(fresh), strict=True):
        old, new = _joined(shown(before)), _joined(shown(after))
        same = [kind for kind, _ in old] == [kind for kind, _ in new]
        if not same or not all(agree(a, b) and near(a, b) for (_, a), (_, b) in zip(old, new, strict=True)):
            found.append(f"{text(before['source'])[:80]!r} showed {old}, now {new}")
    return found


def _joined(outputs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Text that came in several pieces is one."""
    found: list[tuple[str, str]] = []
    for kind, words in outputs:
        if found and found[-1][0] == kind == "stream":
            found[-1] = (kind, found[-1][1] + words)
        else:
            found.append((kind, words))
    return found


def near(committed: str, fresh: str) -> bool:
    """Whether the figures that are no time are about the same: within a factor of ten where they have an exponent or
    count the noise, else within 5 % or 0.02."""
    pairs = zip(FIGURE.finditer(committed), FIGURE.finditer(fresh), strict=True)
    return all(_near(a, b) for a, b in pairs if (a["unit"] or "").strip() not in ("s", "ms", "min", "h"))


def _near(a: re.Match, b: re.Match) -> bool:
    old, new = (float(found["number"].replace(",", "")) for found in (a, b))
    if "e" in a["number"] or a["x"]:
        return old == new or (new != 0 and 1 / TIMES <= abs(old / new) <= TIMES)
    unit = (a["unit"] or "").strip()
    return unit.endswith("B") or abs(old - new) <= max(SHARE * abs(old), SPARE)


def executed(path: Path, folder: Path) -> dict[str, Any]:
    """The notebook, run from its first cell to its last in the empty `folder`. Raises CellExecutionError."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=place).execute()
    for cell in code_cells(notebook):
        cell["metadata"] = {}
        cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "code": digest(notebook),
    }
    return notebook


def written(notebook: dict[str, Any]) -> str:
    """As it is committed."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"

"""The house: who may import whom, how long a file may be, and that no table forgets a format."""

import re
import subprocess
import sys
import tomllib

import pytest
from support.artifacts import ALL
from support.data import ROOT, TESTS
from support.imports import at_start, circles, imports, modules

from converters import FORMATS

PRODUCT = modules("u2net_zoo") | modules("converters")
DOORS = {"u2net_zoo", "converters"}  # they hand names on when these are asked for, and need nothing themselves
ARROWS = {name: imports(name, path, PRODUCT) - DOORS for name, path in PRODUCT.items() if name not in DOORS}
ROOF = ("u2net_zoo.api", "u2net_zoo.cli", "u2net_zoo.__main__")
# From the ground up: nothing imports what stands further down in this list.
FLOORS = (
    ("u2net_zoo.errors",),
    ("u2net_zoo.arch", "u2net_zoo.units"),
    ("u2net_zoo.weight_map", "u2net_zoo.checkpoint"),
    ("u2net_zoo.torch_model", "u2net_zoo.keras_model"),
    ("converters",),
    ROOF,
)
# What every command may load at its start: the standard library and what is quick of the base dependencies.
LIGHT = {
    *sys.stdlib_module_names, "u2net_zoo", "converters", "filelock", "numpy", "PIL", "platformdirs", "pooch",
    "requests", "rich", "typer", "click", "urllib3",
}  # fmt: skip
# Files that are nothing but one framework's, and are imported when it is used.
OF_ONE = (
    r"u2net_zoo\.(torch_model|train\..*|serve\.(guard|server))"
    r"|converters\.mil\.(evaluator|machine|ops\..*)"
    r"|converters\.coreai\.(interpreter|kernels\..*)"
)
LINES = 300
# They answer the same question for another subject.
SAME_QUESTION = {"limits", "options", "reading", "registry", "result"}


def floor(name: str) -> int | None:
    """Of the most special entry that the module belongs to; None for modules that DESIGN puts on no floor."""
    places = [
        (len(place), number)
        for number, places in enumerate(FLOORS)
        for place in places
        if name == place or name.startswith(f"{place}.")
    ]
    return max(places)[1] if places else None


def test_below_the_roof_the_models_know_no_converter():
    below = [name for name in ARROWS if name.startswith("u2net_zoo") and not name.startswith(ROOF)]
    assert len(below) > 50
    found = {name: {other for other in ARROWS[name] if other.startswith("converters")} for name in below}
    assert {name: others for name, others in found.items() if others} == {}


def test_nothing_is_imported_from_a_floor_above():
    wrong = [
        f"{name} -> {other}"
        for name, others in ARROWS.items()
        for other in others
        if floor(name) is not None and floor(other) is not None and floor(name) < floor(other)
    ]
    assert wrong == []


def test_there_is_no_circle():
    assert circles(ARROWS) == []


def test_rooms_are_not_crowded_and_names_mean_one_thing():
    root = [path.name for path in (ROOT / "converters").glob("*.py")]
    assert len(root) <= 14
    names = [path.stem for path in PRODUCT.values() if path.name != "__init__.py"]
    assert {name for name in names if names.count(name) > 1} <= SAME_QUESTION


def test_the_drawing_sees_every_kind_of_import():
    """What the tests of this file stand on: relative ones, those inside functions, and names in strings."""
    assert "u2net_zoo.errors" in ARROWS["u2net_zoo.checkpoint"]
    assert any(name.startswith("converters") for name in ARROWS["u2net_zoo.api"])  # inside a function
    assert {name for name in ARROWS["converters.registry"] if "onnx_format" in name}  # "onnx_format:Onnx"
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_no_module_loads_a_framework_before_it_is_used():
    loaded = {name: set(at_start(path)) - LIGHT for name, path in PRODUCT.items()}
    assert {name for name, found in loaded.items() if found and not re.fullmatch(OF_ONE, name)} == set()


def tracked(suffix: str) -> list:
    listed = subprocess.run(["git", "ls-files", f"*{suffix}"], cwd=ROOT, capture_output=True, text=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_files_stay_within_three_hundred_lines():
    files = tracked(".py") or sorted({*PRODUCT.values(), *TESTS.rglob("*.py"), *(ROOT / "scripts").glob("*.py")})
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > LINES} == {}


def test_tests_share_helpers_and_never_each_other():
    helpers = modules("parity_tests")
    known = {name.removeprefix("parity_tests."): path for name, path in helpers.items()}
    arrows = {name: imports(name, path, known) for name, path in known.items()}
    assert circles(arrows) == []
    tests = {name for name in known if name.rpartition(".")[2].startswith("test_")}
    assert {name: others & tests for name, others in arrows.items() if others & tests} == {}
    assert {name for name in tests if name.count(".") != 1} == {
        "test_house",
        "test_docstrings",
    }  # each stands in the room of its subject
    names = [name.rpartition(".")[2] for name in tests]
    assert sorted(names) == sorted(set(names))


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_known_to_every_table(name, project):
    fmt, extras = FORMATS[name], project["optional-dependencies"]
    assert fmt.name == name
    assert re.search(rf"^\| .*`{name}`", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert fmt.extra in extras
    everything = re.search(r"\[(.*)\]", extras["all"][0])[1].split(",")
    assert fmt.extra in everything, f"add {fmt.extra!r} to the extra `all` as well"
    assert name in ALL or fmt.downloads


def test_nothing_names_the_machine_it_was_made_on():
    private = re.compile(r"(?<![\w.])/(?:home|root|work|tmp/\w+)/")
    texts = [path for suffix in (".py", ".md", ".toml", ".yml", ".sh") for path in tracked(suffix)]
    named = [path for path in texts if private.search(path.read_text(encoding="utf-8"))]
    assert [path.name for path in named] in ([], ["test_house.py"])

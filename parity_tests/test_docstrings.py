"""Every package says what it is for, with an example that runs."""

import doctest
from importlib import import_module

import pytest
from support.data import ROOT

PARTS = (
    "kotlin",
    "swift",
    "web",
    "report",
    "ops",
    "kernels",
)  # of a format, of the evaluator, of verify: their packages' examples show them
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for top in ("u2net_zoo", "converters")
    for path in sorted((ROOT / top).rglob("__init__.py"))
    if path.parent.name not in PARTS
]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_of_a_package_runs(name, cat, mask, nano_made, tmp_path):
    from converters.loading import read_source

    artifact = nano_made.one("onnx").path
    given = {"photograph": cat, "mask": mask, "artifact": artifact, "folder": tmp_path}
    given["checkpoint"] = read_source(artifact) if name.startswith("converters") else None
    found = doctest.DocTestFinder(recurse=False).find(import_module(name), name, extraglobs=given)
    assert found
    assert all(test.examples for test in found)
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.failures == 0

"""CI on GitHub: least rights, an end to every job, the three systems, and the same commands as on any machine."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from support.data import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(path.name for path in FOLDER.glob("*.yml"))
SYSTEMS = {"ubuntu-24.04", "macos-15", "windows-2025"}


def workflow(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def steps(job: dict) -> str:
    """The commands of a job."""
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_actionlint_finds_nothing():
    found = shutil.which("actionlint") or shutil.which("actionlint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("needs actionlint, which pip can only build where it may download from elsewhere")
    done = subprocess.run([found, *FILES], cwd=FOLDER, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_workflows_are_these():
    assert FILES == ["ci.yml", "gpu.yml"]


@pytest.mark.parametrize("name", FILES)
def test_a_workflow_may_read_and_every_job_ends(name):
    content = workflow(name)
    assert content["permissions"] == {"contents": "read"}
    assert "group" in content["concurrency"]
    assert all(job["timeout-minutes"] <= 120 for job in content["jobs"].values())
    used = [step["uses"] for job in content["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", each)] == []


@pytest.mark.parametrize("name", FILES)
def test_what_others_may_type_is_never_part_of_a_command(name):
    commands = "\n".join(steps(job) for job in workflow(name)["jobs"].values())
    assert "${{ inputs" not in commands
    assert "${{ github" not in commands


def test_every_system_runs_the_gate_of_the_makefile():
    jobs = workflow("ci.yml")["jobs"]
    assert set(jobs["test"]["strategy"]["matrix"]["os"]) | {jobs["windows"]["runs-on"]} == SYSTEMS
    assert "make check" in steps(jobs["test"])
    assert "make test" in steps(jobs["test"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    gate = re.findall(
        r"^\t\$\(BIN\)/(.*?)(?: >/dev/null)?$", re.search(r"^check:.*?\n\n", makefile, re.M | re.S)[0], re.M
    )
    assert len(gate) >= 4
    assert [command for command in [*gate, "python -m pytest"] if command not in steps(jobs["windows"])] == []


def test_windows_installs_what_has_wheels_there():
    """All extras; what has none says so where it is asked for."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert 'pip install -c constraints.txt -e ".[all,dev]"' in steps(workflow("ci.yml")["jobs"]["windows"])
    assert next(row for row in extras["coreml"] if row.startswith("coremltools")).endswith("; sys_platform != 'win32'")


def test_the_wheel_is_tried_alone_on_every_system():
    jobs = workflow("ci.yml")["jobs"]
    assert "twine check --strict" in steps(jobs["wheel"])
    alone = jobs["installed"]
    assert set(alone["strategy"]["matrix"]["os"]) == SYSTEMS
    assert not any("checkout" in step.get("uses", "") for step in alone["steps"])
    assert "u2zoo mask photo.png -o out" in steps(alone)


def test_the_gpu_is_asked_for_by_hand():
    content = workflow("gpu.yml")
    assert set(content[True]) == {"workflow_dispatch"}  # YAML 1.1 takes the key `on` for true
    (job,) = content["jobs"].values()
    assert "self-hosted" in job["runs-on"]
    assert "scripts/gpu_check.sh" in steps(job)
    assert any("upload-artifact" in step.get("uses", "") for step in job["steps"])

"""`u2zoo fetch` in processes of its own: two at once, killed half-way, and a server that dies."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import webserver
from support.commands import called, left
from support.webserver import BODY, SHA

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def surroundings(server, tmp_path):
    """Makes the environment of a command whose catalog has one entry, at an address of the test's choice."""

    def make(url: str) -> dict[str, str]:
        catalog = tmp_path / "catalog.toml"
        catalog.write_text(
            '[w]\npurpose = "testing"\narchitecture = "from shapes"\nprofile = "paper"\noutput = "mask"\n'
            'licence = "none"\ntraining = "none"\ncitation = "none"\n[[w.sources]]\nkind = "http"\n'
            f'url = "{url}"\nfile = "w.bin"\nbytes = {len(BODY)}\nsha256 = "{SHA}"\n'
        )
        return {**os.environ, "U2ZOO_CATALOG": str(catalog), "U2ZOO_TIMEOUT": "5"}

    return make


def start_fetch(env: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-c", "from u2net_zoo.cli import main; main()", "fetch", "w", "--json"]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_fetch_once(server, surroundings):
    env = surroundings(f"{server.base}/slow/w.bin")
    processes = [start_fetch(env) for _ in range(2)]
    files = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        files += json.loads(out)["files"]
    assert server.requests == ["/slow/w.bin"]
    assert sorted(file["cached"] for file in files) == [False, True]
    assert {file["sha256"] for file in files} == {SHA}


def test_killed_half_way_nothing_has_the_final_name_and_the_next_one_succeeds(server, home, surroundings):
    process = start_fetch(surroundings(f"{server.base}/stalls/w.bin"))
    wait_for(lambda: any(file.stat().st_size >= len(BODY) // 2 for file in home.rglob("*") if file.is_file()))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left(home)[0].startswith("w/.partial/")
    assert not (home / "w" / "w.bin").exists()
    done = called("fetch", "w", env=surroundings(f"{server.base}/ok/w.bin"))
    assert done.returncode == 0, done.stderr
    assert left(home) == ["w/w.bin"]


def test_terminated_politely_it_cleans_up(server, home, surroundings):
    process = start_fetch(surroundings(f"{server.base}/stalls/w.bin"))
    wait_for(lambda: any(file.stat().st_size >= len(BODY) // 2 for file in home.rglob("*") if file.is_file()))
    process.terminate()
    assert process.wait(timeout=20) == 143
    assert left(home) == []


def test_a_server_that_is_killed_half_way(server, home, surroundings):
    program = [sys.executable, webserver.__file__, str(server.folder)]
    mortal = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    process = start_fetch(surroundings(f"{mortal.stdout.readline().strip()}/stalls/w.bin"))
    wait_for(lambda: any(file.stat().st_size >= len(BODY) // 2 for file in home.rglob("*") if file.is_file()))
    mortal.kill()
    mortal.wait()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "expected 300000 bytes, got 150000; the connection ended early" in err
    assert len(err.splitlines()) == 1
    assert left(home) == []


def test_the_command_says_it_in_one_line_and_ends_with_2(server, home, surroundings):
    done = called("fetch", "w", env=surroundings(f"{server.base}/missing/w.bin"))
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "error: w: not fetched: 127.0.0.1 (w.bin): HTTP 404 Not Found: the file has moved or is gone\n"
    )


def test_the_command_prints_what_it_fetched(server, home, surroundings):
    env = surroundings(f"{server.base}/ok/w.bin")
    done = called("fetch", "w", env=env)
    assert done.stdout.split()[:2] == ["w", str(home / "w" / "w.bin")]
    assert SHA in done.stdout
    assert done.stderr == ""
    (row,) = json.loads(called("list", "--json", env=env).stdout)["weights"]
    assert row["cached"] == str(home / "w" / "w.bin")


def test_an_unknown_name_is_one_line(surroundings):
    done = called("fetch", "v", env=surroundings("http://127.0.0.1/w.bin"))
    assert done.returncode == 2
    assert done.stderr == "error: unknown catalog name 'v'; catalog names: w\n"

"""Processes that note whom they call."""

from pathlib import Path

# Python runs this module at its start, in every process that the command starts or forks.
WATCH = """
import os, sys

def watch(event, arguments):
    if event == "socket.getaddrinfo":
        place = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        place = arguments[1][0]
    else:
        return
    place = place.decode() if isinstance(place, bytes) else place
    if place not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"):
        with open(os.environ["U2ZOO_CALLED"], "a") as file:
            print(sys.argv[:2], event, place, file=file)

sys.addaudithook(watch)
"""


def watched_calls(folder: Path) -> str:
    """Who was called, a line each."""
    file = folder / "called.txt"
    return file.read_text() if file.exists() else ""

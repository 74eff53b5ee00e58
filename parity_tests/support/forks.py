"""Commands in processes that start at once: forked from one that has done such a command, to be ended on the way.

Run as a program it is that process. Its arguments are the command that it does itself, and so has the frameworks loaded
and warm. Then a line of JSON on stdin is a command line to start, whose process id it prints, or the id of a process to
wait for, whose exit code it prints.
"""

import json
import os
import signal
import subprocess
import sys

from support.commands import ENDINGS, called
from support.data import SEARCHED


class Forks:
    """Starts commands of `u2zoo`. One thread in each: only a process without other threads can be forked safely."""

    def __init__(self, *first) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SEARCHED}
        command = [sys.executable, __file__, *map(str, first)]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.server.stdout.readline() == "ready\n"

    def start(self, *arguments) -> int:
        """The process id of the command."""
        return self._ask(list(map(str, arguments)))

    def wait(self, process: int) -> int:
        """The exit code when it has ended; less than 0 for a signal."""
        return self._ask(process)

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(timeout=60)

    def _ask(self, question: list[str] | int) -> int:
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


def serve(first: list[str]) -> None:
    if called(*first).returncode == 0:
        print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if isinstance(question, list):
            answer = os.fork()
            if not answer:
                return become(question)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(question, 0)[1])
        print(answer, flush=True)
    return None


def become(arguments: list[str]) -> None:
    """In the child: the command, with nothing on its streams, and the signals of a process that a shell started."""
    from u2net_zoo.cli.commands import main

    for number in ENDINGS:
        signal.signal(number, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.argv = ["u2zoo", *arguments]
    main()


if __name__ == "__main__":
    serve(sys.argv[1:])

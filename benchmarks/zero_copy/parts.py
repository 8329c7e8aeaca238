"""One process of a turn: what moves, what feeds it, or what takes it in.

    python -m benchmarks.zero_copy.parts CPU PART ARGUMENT...

It binds itself to a CPU, says that it is ready, waits to be told to begin, and says
what its part took as a line of JSON. Descriptors are inherited, and named by number.
"""

import hashlib
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.trees import MIB
from benchmarks.zero_copy.cases import WAYS
from benchmarks.zero_copy.movers import Moved

Report = dict[str, Any]


def move(way: str, size: str, times: str, source: str, sink: str) -> Report:
    """Move all that there is from *source* to *sink*; a file several times."""
    with socket.socket(fileno=int(sink)) as stream:
        moved = [
            _move_once(way, int(size), int(source), stream) for _ in range(int(times))
        ]
    return {
        "calls": sum(each.calls for each in moved),
        "completed": sum(each.completed for each in moved),
        "copied": sum(each.copied for each in moved),
    }


def feed(times: str, file: str, sink: str) -> Report:
    """Send a file several times, by sendfile: its pages, with no copy of them."""
    with socket.socket(fileno=int(sink)) as stream:
        for _ in range(int(times)):
            WAYS["sendfile"].move(int(file), stream, MIB)
    return {}


def take(source: str) -> Report:
    """Take in all that comes, and discard it in the kernel (MSG_TRUNC, tcp(7))."""
    count, buffer = 0, bytearray(MIB)
    with socket.socket(fileno=int(source)) as stream:
        while taken := stream.recv_into(buffer, MIB, socket.MSG_TRUNC):
            count += taken
    return {"bytes": count}


def check(source: str) -> Report:
    """Take in all that comes, and tell what it was."""
    digest = hashlib.sha256()
    with socket.socket(fileno=int(source)) as stream:
        while data := stream.recv(MIB):
            digest.update(data)
    return {"sha256": digest.hexdigest()}


PARTS: dict[str, Callable[..., Report]] = {
    each.__name__: each for each in (move, feed, take, check)
}


def main() -> None:
    """Play the part that the command line says."""
    cpu, part, *arguments = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    print(flush=True)  # noqa: T201 - it is ready
    sys.stdin.readline()
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    report = PARTS[part](*arguments)
    # The sum of user and system time is exact, to a microsecond; how it is split is
    # what the kernel sampled (getrusage(2)).
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    report |= {
        "begun_s": begun,
        "ended_s": ended,
        "user_s": after.ru_utime - before.ru_utime,
        "system_s": after.ru_stime - before.ru_stime,
        "voluntary": after.ru_nvcsw - before.ru_nvcsw,
        "involuntary": after.ru_nivcsw - before.ru_nivcsw,
        "faults": after.ru_minflt - before.ru_minflt,
    }
    print(json.dumps(report))  # noqa: T201 - what it is there for


def _move_once(way: str, size: int, source: int, sink: socket.socket) -> Moved:
    if not WAYS[way].is_relay:
        os.lseek(source, 0, os.SEEK_SET)
    return WAYS[way].move(source, sink, size)


if __name__ == "__main__":
    main()

"""Which process has how many connections, by what the kernel tells."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")


def established(table: str, port: int) -> frozenset[int]:
    """Return the inodes of the server's ends of connections to *port*.

    *table* has the form of /proc/net/tcp (proc_net_tcp in the kernel's
    documentation): the second column is the local address, the fourth the state.
    """
    found = set()
    for line in table.splitlines()[1:]:
        columns = line.split()
        local, state, inode = columns[1], columns[3], columns[9]
        if int(local.rpartition(":")[2], 16) == port and state == _ESTABLISHED:
            found.add(int(inode))
    return frozenset(found)


def count_each(pids: Iterable[int], port: int) -> list[int]:
    """Return how many established connections to *port* each process holds."""
    inodes = established(Path("/proc/net/tcp").read_text(), port)
    return [len(inodes & _sockets(pid)) for pid in pids]


def greatest_share(counts: Iterable[int]) -> float:
    """Return which part of all the busiest process has."""
    known = list(counts)
    return max(known) / sum(known)


def _sockets(pid: int) -> frozenset[int]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            match = _SOCKET.fullmatch(os.readlink(descriptor))
        except FileNotFoundError:
            continue  # closed since
        if match:
            found.add(int(match[1]))
    return frozenset(found)

"""CPU per request of this server and of others, measured side by side.

Each module is one step, and `__main__` puts them together:

    trees       the files that are served
    peers       each server with its settings
    servers     a server as processes: its CPU time and its memory
    wire        one response, read raw and checked
    load        one run of wrk, and whether it can be trusted
    traffic     one run of a load through a relay, the same
    downloads   clients that load large files beside it, at a rate
    disks       a disk that is slow, and files that are not in memory
    overlays    an overlayfs that only one server sees
    connections how many of them each process has
    sessions    servers that take turns within a round
    scenarios   what is measured, and what it is measured against
    zero_copy   ways to move bytes, which take turns like servers
    ratios      medians and their intervals
    verdicts    targets against rounds
    results     raw results as files
    report      table, charts and the block of the README, from raw results only
"""


class BenchmarkError(Exception):
    """A figure that can't be had, or can't be trusted."""


class UnavailableError(BenchmarkError):
    """What a scenario needs is not to be had on this machine; it says what."""

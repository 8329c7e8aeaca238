"""A line on the terminal that tells how much is moving, again every second."""

import select
from collections import Counter
from typing import TextIO

from sendfile_server.monitoring.samples import Totals

CLEAR_LINE = "\r\x1b[K"
"""To be written before anything else that comes to the terminal (ECMA-48)."""
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Progress:
    """The line, and what its rates are the difference to."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._before: dict[str, int] = {}
        self._shown = 0.0

    def show(self, totals: Totals, now: float) -> None:
        """Write the line anew, if the terminal takes it at once.

        *now* is in seconds of any clock that is never set back.
        """
        counts = summarize(totals)
        if self._before:
            self._write(describe(self._before, counts, now - self._shown))
        self._before, self._shown = counts, now

    def end(self) -> None:
        """Leave nothing of it behind."""
        self._write("")

    def _write(self, line: str) -> None:
        # One that was stopped by Ctrl-S is not to stop us.
        if select.select([], [self._terminal], [], 0)[1]:
            self._terminal.write(CLEAR_LINE + line)
            self._terminal.flush()


def summarize(totals: Totals) -> dict[str, int]:
    """Add up *totals* by metric, and bytes by direction and by way."""
    counts: Counter[str] = Counter()
    for sample, number in totals:
        counts[sample.name] += number
        if sample.name == "bytes":
            for _, value in sample.labels:
                counts[value] += number
    return counts


def describe(before: dict[str, int], after: dict[str, int], seconds: float) -> str:
    """Return the line of what came between two summaries."""

    def moved(key: str) -> int:
        return after[key] - before[key]

    share = moved("spliced") * 100 // moved("bytes") if moved("bytes") else 0
    return (
        f"{after['open_connections']} of {after['connections']} connections open, "
        f"{format_rate(moved('to_target') / seconds)} to target, "
        f"{format_rate(moved('to_client') / seconds)} to client, {share} % spliced"
    )


def format_rate(rate: float) -> str:
    """Return *rate*, of bytes per second, in the unit that suits it."""
    size = 0
    while rate >= 999.5 and size < len(_UNITS) - 1:
        rate, size = rate / 1000, size + 1
    return f"{rate:.3g} {_UNITS[size]}/s"

"""The line on a terminal that tells how much is moving."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from relaying import COMMAND
from sendfile_server.monitoring.samples import Totals
from sendfile_server.relay.flow import Moved
from sendfile_server.relay.progress import CLEAR_LINE, describe, format_rate, summarize
from sendfile_server.relay.tally import SAMPLES, Tally


def totals(tally: Tally) -> Totals:
    """Return what is told of *tally*."""
    return [(sample, sample.read(tally)) for sample in SAMPLES]


def test_line_is_of_what_came_since() -> None:
    """Rates are of the bytes between two looks, and connections are as they are."""
    before = Tally(accepted=5, ended=1, to_target=Moved(copied=10))
    after = Tally(
        accepted=9,
        ended=2,
        to_target=Moved(spliced=3_000_000, copied=10),
        to_client=Moved(copied=1_000_000),
    )
    line = describe(summarize(totals(before)), summarize(totals(after)), 2.0)

    assert line == (
        "7 of 9 connections open, 1.5 MB/s to target, 500 kB/s to client, 75 % spliced"
    )


def test_nothing_moving_is_told_too() -> None:
    """Where nothing moved, no share of it is spliced."""
    nothing = summarize(totals(Tally()))
    assert describe(nothing, nothing, 1.0).endswith("0 B/s to client, 0 % spliced")


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0 B/s"),
        (999.4, "999 B/s"),
        (999.5, "1 kB/s"),
        (1234, "1.23 kB/s"),
        (3.21e9, "3.21 GB/s"),
        (5e15, "5e+03 TB/s"),
    ],
)
def test_rates_have_three_digits(rate: float, text: str) -> None:
    """The unit grows with the rate."""
    assert format_rate(rate) == text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_terminal_shows_one_line(workers: str) -> None:
    """It is drawn over itself, no log line is mixed into it, and none is left."""
    ours, theirs = pty.openpty()
    options = ("127.0.0.1:0", "127.0.0.1:1", "--progress", "--workers", workers)
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *options], stderr=theirs)
    os.close(theirs)
    shown = b""
    while shown.count(b"connections open") < 2:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGTERM)
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # EIO: nobody has the other end any more (pty(7))
        pass
    os.close(ours)

    assert process.wait(20) == 0
    first, *lines = shown.decode().split(CLEAR_LINE)
    assert first.startswith("Forwarding ")
    assert all("\n" not in line for line in lines if "connections open" in line)
    assert "splice-relay[" in lines[-1] or lines[-1] == ""
    assert lines.count("") == 1


def test_nothing_is_shown_elsewhere() -> None:
    """What is no terminal gets no line that is drawn over itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "127.0.0.1:0", "127.0.0.1:1", "--progress"],
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    assert process.stderr.readline().startswith(b"Forwarding ")
    process.send_signal(signal.SIGTERM)

    assert CLEAR_LINE.encode() not in process.stderr.read()
    assert process.wait(20) == 0
    process.stderr.close()

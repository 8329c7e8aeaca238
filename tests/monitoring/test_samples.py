"""Counts of a worker, those of its predecessor, and those of all."""

from dataclasses import dataclass
from operator import attrgetter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sendfile_server.hosting.board import Board
from sendfile_server.monitoring.exposition import expose
from sendfile_server.monitoring.samples import Kind, Sample, Sheet, counter, gauge


@dataclass
class Counts:
    """What a worker might count."""

    good: int = 0
    bad: int = 0
    here: int = 0


SAMPLES = (
    counter("things", "Things.", attrgetter("good"), kind="good"),
    counter("things", "Things.", attrgetter("bad"), kind='b"\\d\n'),
    gauge("here", "Now here.", attrgetter("here")),
    Sample("took", "Time.", Kind.HISTOGRAM, attrgetter("good"), (), "_sum", 1e-6),
)


def test_totals_are_of_all_workers() -> None:
    """Each worker's counts as it last published them, and one's own as they are."""
    board, mine, other = Board(2, 4), Counts(1, 0, 5), Counts(10, 20, 30)
    sheet = Sheet(SAMPLES, mine, board, 0)
    Sheet(SAMPLES, other, board, 1).publish()
    mine.good, other.good = 2, 999

    assert [number for _, number in sheet.totals()] == [12, 20, 35, 12]


def test_successor_goes_on() -> None:
    """Counters never fall when a worker is replaced; what is now begins anew."""
    board = Board(1, 4)
    Sheet(SAMPLES, Counts(5, 6, 7), board, 0).publish()
    sheet = Sheet(SAMPLES, Counts(1, 0, 2), board, 0)

    assert [number for _, number in sheet.totals()] == [6, 6, 2, 6]


def test_text_says_the_same() -> None:
    """A parser of the format finds the names, kinds, labels and numbers again."""
    totals = Sheet(SAMPLES, Counts(1, 2**53, 3), Board(1, 4), 0).totals()
    families = list(text_string_to_metric_families(expose("it", totals).decode()))

    assert [(each.name, each.type) for each in families] == [
        ("it_things", "counter"),
        ("it_here", "gauge"),
        ("it_took", "histogram"),
    ]
    assert [
        (sample.name, sample.labels, sample.value)
        for each in families
        for sample in each.samples
    ] == [
        ("it_things_total", {"kind": "good"}, 1),
        ("it_things_total", {"kind": 'b"\\d\n'}, pytest.approx(2**53, rel=0)),
        ("it_here", {}, 3),
        ("it_took_sum", {}, 1e-6),
    ]

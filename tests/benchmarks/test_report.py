from pathlib import Path

import pytest

from benchmarks.report import (
    BLOCKS,
    describe,
    detail_tables,
    insert_block,
    summary_table,
)
from benchmarks.results import FOLDER, Result, newest
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.model import CPU, Target

COMMITTED = newest(FOLDER)


@pytest.mark.parametrize(
    ("path", "name"),
    BLOCKS,
    ids=[f"{path.parent.name}-{name}" for path, name in BLOCKS],
)
def test_text_shows_the_committed_results(path: Path, name: str) -> None:
    """What is between the markers is what the raw results give."""
    text = path.read_text()

    assert f"<!-- {name}: begin -->" in text
    assert insert_block(text, name, BLOCKS[path, name](COMMITTED)) == text


def test_block_is_put_between_its_markers() -> None:
    """What is around them stays, other blocks too; twice changes nothing more."""
    begin, end = "<!-- some: begin -->", "<!-- some: end -->"
    other = "<!-- some more: begin -->\nold\n<!-- some more: end -->"
    text = f"before\n{begin}\nold\n{end}\n{other}\n"
    once = insert_block(text, "some", r"new \1")

    assert once == f"before\n{begin}\n\nnew \\1\n\n{end}\n{other}\n"
    assert insert_block(once, "some", r"new \1") == once


def test_text_without_markers_stays() -> None:
    """Nothing is inserted unasked."""
    assert insert_block("text", "some", "block") == "text"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            Target(figure=1.0, against=("nginx", "nginx-copy", "lighttpd", "h2o")),
            "at most 1 × the CPU of nginx, lighttpd or h2o",
        ),
        (
            Target(figure=1.0, against=("nginx",), is_aim=True),
            "at most 1 × the CPU of nginx (aim)",
        ),
        (
            Target(
                figure=1.0,
                against=("nginx",),
                measure="requests_per_s",
                is_at_least=True,
            ),
            "at least 1 × the throughput of nginx",
        ),
        (
            Target(figure=1.0, against=("nginx-uncorked",)),
            "at most 1 × the CPU of nginx, tcp_nopush off",
        ),
        (
            Target(figure=25, against=("aiohttp",), is_at_least=True, is_inverse=True),
            "at least 25 × less CPU than aiohttp",
        ),
        (Target(figure=296, measure="rss_mib"), "at most 296 MiB of memory"),
        (
            Target(figure=1.05, of="ours@overlayfs", against=("ours",)),
            "overlayfs: at most 1.05 × the CPU of sendfile-server",
        ),
        (
            Target(figure=0.3, of="ours@2-workers", measure="start_s"),
            "2-workers: at most 0.3 s from start to first response",
        ),
        (
            Target(figure=None, of="ours-again", against=("ours",)),
            "CPU of the same server twice: the noise",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_target_is_described_in_words(target: Target, words: str) -> None:
    """A reader sees what is claimed, of what, and against whom."""
    assert describe(target) == words


def test_table_says_what_was_not_measured() -> None:
    """A target whose peer was missing is in the table, without a verdict."""
    rounds = [
        {"ours": {CPU: 1.0}, "ours-again": {CPU: 1.0}, "floor-send": {CPU: 1.0}}
    ] * 9
    measured = Result(
        "hot-1k", quotable=True, settings={}, environment={}, servers={}, rounds=rounds
    )

    rows = summary_table({"hot-1k": measured}).splitlines()[2:]

    assert len(rows) == len(SCENARIOS["hot-1k"].targets)
    assert "not measured" in rows[0]
    assert "| 1.00 [1.00, 1.00] | reached |" in rows[1]
    assert "| 1.00 [1.00, 1.00] | — |" in rows[2]


def test_tables_say_why_a_scenario_was_skipped() -> None:
    """What the machine did not allow stands where the figures would."""
    skipped = Result(
        "hot-1k",
        quotable=True,
        settings={},
        environment={},
        servers={},
        rounds=[],
        skipped="there is no disk",
    )

    for row in summary_table({"hot-1k": skipped}).splitlines()[2:]:
        assert "not measured: there is no disk" in row
    assert "Skipped: there is no disk." in detail_tables({"hot-1k": skipped})

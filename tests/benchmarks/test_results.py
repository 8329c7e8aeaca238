from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.results import FOLDER, QUOTABLE_ROUNDS, Result, newest, save


def result(scenario: str, *, quotable: bool = True, mark: int = 0) -> Result:
    """Return a result that can be told from others by its *mark*."""
    figures = {"ours": {"cpu_us_per_request": 1.0}}
    return Result(scenario, quotable, {"mark": mark}, {}, {}, [figures])


def test_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nothing of a result is lost in its file."""
    written = result("hot-1k")

    assert Result.load(save(written, tmp_path, "2026-01-01")) == written


def test_newest_run_counts(tmp_path: Path) -> None:
    """Of two runs of a scenario, the later one is shown."""
    save(result("hot-1k", mark=2), tmp_path, "2026-02-01")
    save(result("hot-1k", mark=1), tmp_path, "2026-01-01")
    save(result("zipf", mark=1), tmp_path, "2026-01-01")

    assert newest(tmp_path) == {
        "hot-1k": result("hot-1k", mark=2),
        "zipf": result("zipf", mark=1),
    }


def test_what_can_not_be_quoted_is_not_shown(tmp_path: Path) -> None:
    """A run of few rounds is kept apart, and never becomes a table."""
    path = save(result("hot-1k", quotable=False), tmp_path, "2026-01-01")

    assert path.is_relative_to(tmp_path / "quick")
    assert newest(tmp_path) == {}


def test_skipped_run_does_not_hide_a_measured_one(tmp_path: Path) -> None:
    """The reason why nothing was measured counts only where nothing ever was."""
    skipped = replace(result("cold-disk"), rounds=[], skipped="no cgroup")
    save(result("cold-disk"), tmp_path, "2026-01-01")
    save(skipped, tmp_path, "2026-02-01")
    save(replace(skipped, scenario="overlayfs-1k"), tmp_path, "2026-02-01")

    assert newest(tmp_path) == {
        "cold-disk": result("cold-disk"),
        "overlayfs-1k": replace(skipped, scenario="overlayfs-1k"),
    }


@pytest.mark.parametrize(
    ("server", "measure", "series"),
    [
        ("ours", "cpu_us_per_request", [1.0]),
        ("ours", "p99_ms", None),
        ("nginx", "cpu_us_per_request", None),
    ],
)
def test_series_is_whole_or_nothing(
    server: str, measure: str, series: list[float] | None
) -> None:
    """A measure that a server lacks is not taken for zero."""
    assert result("hot-1k").series(server, measure) == series


def test_committed_results_are_quotable_and_name_no_place() -> None:
    """Raw results have enough rounds, and no path of the machine they come from."""
    for path in FOLDER.glob("[0-9]*/*.json"):
        committed = Result.load(path)

        assert committed.quotable
        assert len(committed.rounds) >= QUOTABLE_ROUNDS or committed.skipped
        assert "/home/" not in path.read_text()
        assert "/tmp/" not in path.read_text()  # noqa: S108 - what is looked for

"""The charts, made from raw results and nothing else; needs the extra ``bench``.

Nothing is drawn behind them, and every colour is readable on a white page and on
a dark one.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.ratios import Estimate, estimate
from benchmarks.report import describe, verdicts
from benchmarks.results import Result
from benchmarks.scenarios import SCENARIOS
from benchmarks.verdicts import Outcome, Verdict
from benchmarks.zero_copy.chart import draw_ways

FOLDER = Path(__file__).parent / "charts"

_OURS, _PEER, _FLOOR, _MISSED = "#2f81f7", "#8b949e", "#8b949e55", "#e5534b"
_TEXT = "#768390"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.edgecolor": _TEXT,
    "svg.hashsalt": "benchmarks",  # the same results give the same file
}
_PER_REQUEST = "CPU µs per request, user and system"
# What each chart of bars shows, and of what.
_BARS = {
    "cpu": (
        _PER_REQUEST,
        (
            *("hot-1k", "unique-heads", "not-modified", "not-found"),
            *("hot-16k", "hot-64k", "random-ranges", "zipf", "new-connections"),
            "hot-1k-log",
        ),
    ),
    "python-peers": (_PER_REQUEST, ("python-peers",)),
    "relay": (
        "CPU s per GB, µs of median latency, CPU µs per connection",
        ("relay-1-flow", "relay-8-flows", "relay-ping-pong", "relay-connections"),
    ),
}
_TITLE = {"fontsize": 9, "weight": "bold"}
_WIDTH_IN = 10.0
_BAR_IN = 0.24


def draw_all(results: Mapping[str, Result], folder: Path = FOLDER) -> list[Path]:
    """Draw every chart for which there is a result, as SVG and as PNG."""
    folder.mkdir(exist_ok=True)
    judged = [
        (name, verdict)
        for name, _, verdict in verdicts(results)
        if verdict and _has_ratio(verdict)
    ]
    paths: list[Path] = []
    with mpl.rc_context(_STYLE):
        for chart, (label, names) in _BARS.items():
            known = [results[name] for name in names if name in results]
            if known:
                paths += _save(draw_bars(known, label), folder / chart)
        if judged:
            paths += _save(draw_targets(judged), folder / "targets")
        if "zero-copy" in results:
            paths += _save(draw_ways(results["zero-copy"]), folder / "zero-copy")
    return paths


def draw_bars(results: list[Result], label: str) -> Figure:
    """Draw a panel for each result: a bar for each server, the least on top.

    *label* says what the bars show.
    """
    columns = min(2, len(results))
    rows = [results[at : at + columns] for at in range(0, len(results), columns)]
    # In bars, with room for a title; the same height for a bar in every panel.
    bars = [max(len(_medians(result)) for result in row) for row in rows]
    heights = [count + 2.2 for count in bars]
    figure = Figure(
        figsize=(_WIDTH_IN, sum(heights) * _BAR_IN + 0.3), layout="constrained"
    )
    grid = figure.subfigures(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, count, parts in zip(rows, bars, grid, strict=True):
        for result, part in zip(row, parts, strict=False):
            what = SCENARIOS[result.scenario].what
            part.suptitle(f"{result.scenario}: {what}", x=0.01, ha="left", **_TITLE)
            _draw_panel(part.subplots(), result, count)
    figure.supxlabel(f"{label}; less is better", fontsize=9)
    return figure


def draw_targets(judged: list[tuple[str, Verdict]]) -> Figure:
    """Draw each ratio with its interval, over the figure that it must keep."""
    figure = Figure(
        figsize=(_WIDTH_IN, len(judged) * _BAR_IN + 1.1), layout="constrained"
    )
    panel = figure.subplots()
    places = range(len(judged))
    shares = [_over_target(verdict) for _, verdict in judged]
    for place, (_, verdict), share in zip(places, judged, shares, strict=True):
        is_reached = verdict.outcome is Outcome.REACHED
        colour = _OURS if is_reached else _MISSED
        panel.plot([share.low, share.high], [place, place], color=colour, linewidth=2)
        panel.plot([share.median], [place], "o", color=colour, markersize=5)
    panel.axvline(1, color=_TEXT, linewidth=1, linestyle=(0, (4, 3)))
    labels = [f"{name}: {describe(verdict.target)}" for name, verdict in judged]
    panel.set_yticks(places, labels)
    panel.invert_yaxis()
    greatest = max(share.high for share in shares)
    if greatest > 3:
        panel.set_xscale("log")
    else:
        panel.set_xlim(0, max(1.2, greatest * 1.05))
    panel.set_xlabel(
        "measured ÷ target, median and 95 % interval; 1 or less is reached"
    )
    _strip(panel)
    panel.spines["bottom"].set_visible(True)
    return figure


def _draw_panel(panel: Axes, result: Result, count: int) -> None:
    medians = _medians(result)
    names = sorted(medians, key=medians.__getitem__)
    places = range(len(names))
    colours = [_colour(name) for name in names]
    widths = [medians[name] for name in names]
    panel.barh(places, widths, color=colours, height=0.68)
    for place, name in zip(places, names, strict=True):
        is_ours = name.startswith("ours")
        panel.annotate(
            f"{medians[name]:.{1 if medians[name] >= 1 else 2}f}",
            (medians[name], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=_OURS if is_ours else _TEXT,
            weight="bold" if is_ours else "normal",
        )
    panel.set_yticks(places, [result.servers[name]["title"] for name in names])
    for label, name in zip(panel.get_yticklabels(), names, strict=True):
        if name.startswith("ours"):
            label.set_color(_OURS)
            label.set_fontweight("bold")
    panel.set_ylim(count - 0.5, -0.5)
    panel.set_xlim(0, max(widths) * 1.15)
    panel.set_xticks([])
    _strip(panel)


def _strip(panel: Axes) -> None:
    for spine in panel.spines.values():
        spine.set_visible(False)
    panel.tick_params(axis="y", length=0)


# The second of the same servers is for the noise; and beside the bar of ours without
# its memory, which the tables have, all others would look the same.
_NOT_DRAWN = ("ours-again", "ours-no-memory", "ours-relay-again")


def _medians(result: Result) -> dict[str, float]:
    measure = SCENARIOS[result.scenario].chart
    found = {name: result.series(name, measure) for name in result.servers}
    return {
        name: estimate(values).median
        for name, values in found.items()
        if values and name not in _NOT_DRAWN
    }


def _colour(name: str) -> str:
    if name.startswith("ours"):
        return _OURS
    return _FLOOR if name.startswith("floor") else _PEER


def _has_ratio(verdict: Verdict) -> bool:
    return verdict.target.figure is not None and bool(verdict.target.against)


def _over_target(verdict: Verdict) -> Estimate:
    """Return the ratio over its figure, turned so that 1 or less is reached."""
    figure, value = verdict.target.figure or 1.0, verdict.value
    if verdict.target.is_at_least:
        return Estimate(figure / value.median, figure / value.high, figure / value.low)
    return Estimate(value.median / figure, value.low / figure, value.high / figure)


def _save(figure: Figure, path: Path) -> list[Path]:
    paths = [path.with_suffix(".svg"), path.with_suffix(".png")]
    figure.savefig(
        paths[0], transparent=True, bbox_inches="tight", metadata={"Date": None}
    )
    figure.savefig(paths[1], transparent=True, bbox_inches="tight", dpi=144)
    return paths

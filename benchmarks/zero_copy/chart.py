"""The chart of docs/zero-copy.md, made from the results and nothing else."""

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.ratios import estimate
from benchmarks.results import Result
from benchmarks.zero_copy.cases import SIZES, WAYS, Case, format_size
from benchmarks.zero_copy.page import CPU, series

# Readable on a white page and on a dark one; the same call has the same colour.
_COLOURS = {
    "read-send": "#e5534b",
    "mmap-send": "#d18616",
    "sendfile": "#2f81f7",
    "splice": "#3fa45b",
    "zerocopy": "#a371f7",
    "recv-send": "#e5534b",
    "relay-splice": "#3fa45b",
}
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5)


def draw_ways(result: Result) -> Figure:
    """Draw a panel for files and one for sockets: a line for each way."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, is_relay in zip(panels, (False, True), strict=True):
        for way, about in WAYS.items():
            if about.is_relay is is_relay:
                _draw_way(panel, result, way)
        source = "socket" if is_relay else "file"
        panel.set_title(f"{source} → socket", loc="left", fontsize=9, weight="bold")
        panel.set_xticks(range(len(SIZES)), [format_size(size) for size in SIZES])
        panel.set_xlabel("pieces of")
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(ticker.FixedLocator(_TICKS))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(ticker.NullLocator())
        panel.grid(axis="y", alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    panels[0].set_ylabel("CPU seconds per GB, user and system; less is better")
    return figure


def _draw_way(panel: Axes, result: Result, way: str) -> None:
    known = [estimate(series(result, Case(way=way, size=size), CPU)) for size in SIZES]
    panel.errorbar(
        range(len(SIZES)),
        [each.median for each in known],
        yerr=(
            [each.median - each.low for each in known],
            [each.high - each.median for each in known],
        ),
        label=WAYS[way].title,
        color=_COLOURS[way],
        marker="o",
        markersize=4,
        linewidth=1.8,
        elinewidth=1,
    )

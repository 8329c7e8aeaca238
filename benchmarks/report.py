"""The tables, made from raw results and nothing else.

A text that shows them holds a pair of markers, and what is between them is made
here; a test sees to it that it is up to date.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.ratios import estimate
from benchmarks.results import Result
from benchmarks.scenarios import RELAYS, SCENARIOS
from benchmarks.scenarios.model import CPU, Target
from benchmarks.sessions import title
from benchmarks.verdicts import Verdict, judge
from benchmarks.zero_copy.page import format_results

TOP = Path(__file__).parents[1]

ALL = "benchmarks"
OF_RELAYS = "benchmarks of relays"
"""What the markers around a block name it."""

MEASURES = {
    CPU: "CPU",
    "requests_per_s": "throughput",
    "p50_ms": "median latency",
    "p99_ms": "p99 latency",
    "cpu_s_per_gb": "CPU",
    "gb_per_s": "throughput",
    "p50_us": "median latency",
    "p99_us": "p99 latency",
    "kib_each": "KiB of memory for each connection",
    "lost": "connections lost",
    "stuck": "connections stuck",
    "download_mib_per_s": "throughput of the downloads",
    "rss_mib": "MiB of memory",
    "idle_kib_each": "KiB of memory for each idle connection",
    "greatest_share": "of the connections at one worker",
    "start_s": "s from start to first response",
    "new_mib_per_worker": "MiB of memory for a worker that has started",
    "full_mib_per_worker": "MiB of memory for a worker that has served many files",
}
"""What a reader calls a measure; others keep their name."""

_COLUMNS = (
    (CPU, "CPU µs", "{:.2f}"),
    ("user_us_per_request", "user µs", "{:.2f}"),
    ("system_us_per_request", "system µs", "{:.2f}"),
    ("cpu_s_per_gb", "CPU s/GB", "{:.3f}"),
    ("user_s_per_gb", "user s/GB", "{:.3f}"),
    ("system_s_per_gb", "system s/GB", "{:.3f}"),
    ("requests_per_s", "requests/s", "{:,.0f}"),
    ("gb_per_s", "GB/s", "{:.2f}"),
    ("p50_us", "p50 µs", "{:.1f}"),
    ("p99_us", "p99 µs", "{:.1f}"),
    ("p99_9_us", "p99.9 µs", "{:.1f}"),
    ("p50_ms", "p50 ms", "{:.2f}"),
    ("p99_ms", "p99 ms", "{:.2f}"),
    ("p99_9_ms", "p99.9 ms", "{:.2f}"),
    ("server_share", "server's core", "{:.0%}"),
    ("client_share", "client's core", "{:.0%}"),
    ("rss_mib", "RSS MiB", "{:.0f}"),
)
_SHOWN = {measure for measure, _, _ in _COLUMNS} | {"requests", "bytes", "pss_mib"}
_CHARTS = {
    "cpu": "CPU time per request of each server",
    "targets": "What was measured over what was aimed for",
    "python-peers": "CPU time per request of servers in or for Python",
    "relay": "CPU time and latency of each relay",
}
_ZERO_COPY = "zero-copy"  # it compares no programs, and has a page of its own


def verdicts(
    results: Mapping[str, Result],
) -> Iterator[tuple[str, Target, Verdict | None]]:
    """Yield the name and the targets of each scenario that was measured.

    A verdict is None if a server was missing.
    """
    for name, scenario in SCENARIOS.items():
        if name in results:
            for target in scenario.targets:
                yield name, target, judge(target, results[name])


def summary_table(results: Mapping[str, Result], *, only_claims: bool = False) -> str:
    """Return one row for each target: what was claimed, and what was measured.

    Those that claim nothing are left out if *only_claims*.
    """
    rows = [
        "| scenario | target | measured [95 % interval] | |",
        "|---|---|---|---|",
    ]
    shown = ""
    for name, target, verdict in verdicts(results):
        if only_claims and target.figure is None:
            continue
        what = "" if name == shown else f"**{name}**: {SCENARIOS[name].what}"
        shown = name
        missing = f"not measured{_because(results[name])} | "
        measured = missing if verdict is None else _measured(verdict)
        rows.append(f"| {what} | {describe(target)} | {measured} |")
    return "\n".join(rows)


def describe(target: Target) -> str:
    """Return what a target claims, in words."""
    measure = MEASURES.get(target.measure, target.measure)
    # Ours may take part in several ways.
    where = f"{target.of.partition('@')[2]}: " if "@" in target.of else ""
    aim = " (aim)" if target.is_aim else ""
    # What is before a comma is the server, after it its settings: of several, the
    # best ones count, whichever they are.
    whole = [title(name) for name in target.against]
    firsts = [name.partition(",")[0] for name in whole]
    names = list(dict.fromkeys(firsts)) if whole[1:] else whole
    best = " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    if target.figure is None:
        if target.is_inverse:
            return f"{measure}, {best} over ours"
        if target.of.endswith("-again"):
            return f"{measure} of the same server twice: the noise"
        return f"{where}{measure}, ours over {best}"
    bound = "at least" if target.is_at_least else "at most"
    if not target.against:
        return f"{where}{bound} {target.figure:g} {measure}{aim}"
    if target.is_inverse:
        return f"{bound} {target.figure:g} × less {measure} than {best}{aim}"
    return f"{where}{bound} {target.figure:g} × the {measure} of {best}{aim}"


def detail_tables(results: Mapping[str, Result]) -> str:
    """Return a table for each scenario: the medians of every server."""
    parts = []
    for name, scenario in SCENARIOS.items():
        if name in results:
            parts += [f"### {name}: {scenario.what}", _detail_table(results[name])]
    return "\n\n".join(parts)


def environment_lines(results: Mapping[str, Result]) -> str:
    """Return a line for each machine on which something was measured, and what."""
    form = "{cpu}, {cpus} CPUs, {memory_mib} MiB, Linux {kernel}, Python {python}"
    found: dict[str, list[str]] = {}
    for name, result in results.items():
        found.setdefault(form.format(**result.environment), []).append(name)
    return "\n".join(f"- {where}: {', '.join(found[where])}" for where in sorted(found))


def readme_block(results: Mapping[str, Result]) -> str:
    """Return what the README of the project shows of servers."""
    return _claims("cpu", {n: each for n, each in results.items() if n not in RELAYS})


def relay_block(results: Mapping[str, Result]) -> str:
    """Return what the README of the project shows of relays."""
    return _claims("relay", {n: each for n, each in results.items() if n in RELAYS})


def details_block(results: Mapping[str, Result]) -> str:
    """Return what the README of the benchmarks shows: what has no page of its own."""
    results = {name: each for name, each in results.items() if name != _ZERO_COPY}
    if not results:
        return ""
    charts = "\n\n".join(
        f"![{alt}](charts/{name}.svg)"
        for name, alt in _CHARTS.items()
        if name != "relay" or RELAYS & results.keys()
    )
    return "\n\n".join(
        (
            f"Measured on:\n\n{environment_lines(results)}",
            summary_table(results),
            charts,
            detail_tables(results),
        )
    )


def zero_copy_block(results: Mapping[str, Result]) -> str:
    """Return what the page on zero-copy shows."""
    if _ZERO_COPY not in results:
        return ""
    result = results[_ZERO_COPY]
    environment = environment_lines({_ZERO_COPY: result})
    return f"Measured on:\n\n{environment}\n\n{format_results(result)}"


BLOCKS = {
    (TOP / "README.md", ALL): readme_block,
    (TOP / "README.md", OF_RELAYS): relay_block,
    (TOP / "benchmarks" / "README.md", ALL): details_block,
    (TOP / "docs" / "zero-copy.md", ALL): zero_copy_block,
}
"""The texts that show results, their blocks, and what each shows."""


def insert_block(text: str, name: str, block: str) -> str:
    """Return *text* with *block* between the markers of *name*, if it has any."""
    between = f"\n\n{block}\n\n" if block else "\n"
    begin, end = (re.escape(f"<!-- {name}: {each} -->") for each in ("begin", "end"))
    pattern = re.compile(f"(?<={begin}).*?(?={end})", re.DOTALL)
    return pattern.sub(lambda _: between, text)


def update_texts(results: Mapping[str, Result]) -> list[Path]:
    """Bring every text up to date, and return those that changed."""
    changed = []
    for (path, name), make in BLOCKS.items():
        text = path.read_text()
        new = insert_block(text, name, make(results))
        if new != text:
            path.write_text(new)
            changed.append(path)
    return changed


def _claims(chart: str, results: Mapping[str, Result]) -> str:
    if not results:
        return ""
    image = f"![{_CHARTS[chart]}](benchmarks/charts/{chart}.svg)"
    table = summary_table(results, only_claims=True)
    return f"{image}\n\n{table}\n\n{_where(results)}"


def _where(results: Mapping[str, Result]) -> str:
    """Return on which CPU the most were measured, and which ones on another."""
    cpus = {name: each.environment["cpu"] for name, each in results.items()}
    [(usual, _), *others] = Counter(cpus.values()).most_common()
    parts = [f"Measured on {usual}"]
    for cpu, _ in others:
        names = ", ".join(name for name in cpus if cpus[name] == cpu)
        parts.append(f"{names} on {cpu}")
    return "; ".join(parts) + "."


def _because(result: Result) -> str:
    return f": {result.skipped}" if result.skipped else ""


def _measured(verdict: Verdict) -> str:
    # The best of several is named, so that a reader can look it up.
    is_chosen = len(verdict.target.against) > 1 and verdict.peer
    by = f" ({title(verdict.peer)})" if is_chosen and verdict.peer else ""
    return f"{verdict.value}{by} | {verdict.outcome.value}"


def _detail_table(result: Result) -> str:
    if result.skipped:
        return f"Skipped: {result.skipped}."
    columns = [
        (measure, heading, form)
        for measure, heading, form in _COLUMNS
        if any(result.series(server, measure) for server in result.servers)
    ]
    # What only one kind of scenario measures is shown under its own name.
    others = [name for each in result.rounds[0].values() for name in each]
    columns += [
        (name, name, "{:.2f}") for name in dict.fromkeys(others) if name not in _SHOWN
    ]
    rows = [
        f"| server | {' | '.join(heading for _, heading, _ in columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for server, about in result.servers.items():
        cells = []
        for measure, _, form in columns:
            values = result.series(server, measure)
            cells.append(form.format(estimate(values).median) if values else "")
        rows.append(f"| {about['title']} {about['version']} | {' | '.join(cells)} |")
    return "\n".join(rows)

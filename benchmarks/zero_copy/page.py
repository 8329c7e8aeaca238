"""What docs/zero-copy.md shows of the results, made from them and nothing else."""

from benchmarks.ratios import estimate, estimate_ratio
from benchmarks.results import Result
from benchmarks.zero_copy.cases import CASES, NOISE, WAYS, Case

CPU = "cpu_s_per_gb"

_CHART = "CPU seconds per GB of each way, by the size of pieces"
_COLUMNS = (
    ("user_s_per_gb", "user", "{:.2f}"),
    ("system_s_per_gb", "system", "{:.2f}"),
    ("peers_s_per_gb", "peers'", "{:.2f}"),
    ("gb_per_s", "GB/s", "{:.2f}"),
    ("calls_per_mib", "calls/MiB", "{:,.1f}"),
    ("faults_per_mib", "faults/MiB", "{:.1f}"),
    ("voluntary_per_gb", "waits/GB", "{:,.0f}"),
    ("involuntary_per_gb", "preempted/GB", "{:,.0f}"),
)


def format_results(result: Result) -> str:
    """Return the chart, the table, and what the table has no room for."""
    chart = f"![{_CHART}](../benchmarks/charts/zero-copy.svg)"
    return "\n\n".join((chart, format_table(result), format_notes(result)))


def format_table(result: Result) -> str:
    """Return a row for each case that was measured: the medians of all rounds."""
    headings = " | ".join(heading for _, heading, _ in _COLUMNS)
    rows = [
        f"| way | pieces | CPU s/GB | × copying | {headings} |",
        f"|---|---|---|---|{'---:|' * len(_COLUMNS)}",
    ]
    shown = ""
    for name, case in measured(result).items():
        if case.is_again:
            continue
        way = title(case)
        cells = (
            "" if way == shown else f"**{way}**",
            name.removeprefix(f"{case.way} "),
            str(estimate(series(result, case, CPU))),
            over_copying(result, case),
            *(
                form.format(estimate(series(result, case, measure)).median)
                for measure, _, form in _COLUMNS
            ),
        )
        rows.append(f"| {' | '.join(cells)} |")
        shown = way
    return "\n".join(rows)


def format_notes(result: Result) -> str:
    """Return what was counted beside, as a list."""
    zerocopy = [case for case in measured(result).values() if case.way == "zerocopy"]
    completed, copied = (
        sum(sum(series(result, case, measure)) for case in zerocopy)
        for measure in ("completed", "copied")
    )
    first = Case(way=NOISE.way, size=NOISE.size)
    noise = estimate_ratio(series(result, NOISE, CPU), series(result, first, CPU))
    return (
        f"- The same case twice ({first.name}), one over the other: {noise}. That is"
        " noise.\n"
        f"- Sends with MSG_ZEROCOPY that the kernel completed: {completed:,.0f}."
        f" Those of them that it marked as copied: {copied:,.0f}."
    )


def over_copying(result: Result, case: Case) -> str:
    """Return the CPU of a case over that of copying with the same sizes, if it can."""
    copying = Case(way=WAYS[case.way].copying, size=case.size, buffer=case.buffer)
    if copying.way == case.way or copying.name not in measured(result):
        return ""
    ratio = estimate_ratio(series(result, case, CPU), series(result, copying, CPU))
    return str(ratio)


def measured(result: Result) -> dict[str, Case]:
    """Return the cases that *result* has, by name."""
    return {name: case for name, case in CASES.items() if result.series(name, CPU)}


def series(result: Result, case: Case, measure: str) -> list[float]:
    """Return a measure of a case, round by round."""
    values = result.series(case.name, measure)
    assert values is not None, f"{case.name} has no {measure}"
    return values


def title(case: Case) -> str:
    """Return what a reader calls the way of a case."""
    way = WAYS[case.way]
    return f"{'socket' if way.is_relay else 'file'}: {way.title}"

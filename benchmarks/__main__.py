"""The command: run scenarios, or render what was measured before."""

import argparse
import signal
import sys
from pathlib import Path

from benchmarks import BenchmarkError, UnavailableError, network
from benchmarks.peers import PEERS, find_program
from benchmarks.ratios import estimate
from benchmarks.report import describe, update_texts
from benchmarks.results import (
    FOLDER,
    QUOTABLE_ROUNDS,
    make_result,
    name_run,
    newest,
    save,
)
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.model import Scenario
from benchmarks.sessions import Round, Session, title
from benchmarks.trees import default_cache
from benchmarks.verdicts import judge


def main() -> int:
    """Do what the command line says; 1 if a scenario failed."""
    options = _parse()
    # Told to stop, it still stops its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    session = Session(
        rounds=options.rounds,
        seconds=options.seconds,
        cache=options.cache,
        only=frozenset(options.only_peers),
        say=lambda text: print(text, flush=True),  # noqa: T201 - the command's output
    )
    if options.scenario == ["report"]:
        return _report(session, options.results)
    names = options.scenario or list(SCENARIOS)
    chosen = [SCENARIOS[name] for name in names]
    _say_peers(session, chosen)
    if reason := network.enter():
        session.say(f"{reason}; TCP is as this machine has it set")
    if session.rounds < QUOTABLE_ROUNDS:
        session.say(f"fewer than {QUOTABLE_ROUNDS} rounds: nothing of it is quotable")
    run, failed = name_run(), False
    for scenario in chosen:
        try:
            _run(scenario, session, options.results, run)
        except UnavailableError as error:
            session.say(f"{scenario.name} skipped: {error}")
            result = make_result(scenario, session, [], skipped=str(error))
            session.say(f"  saved as {save(result, options.results, run)}")
        except BenchmarkError as error:
            session.say(f"{scenario.name} failed: {error}")
            failed = True
    return int(failed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure CPU per request, this server and others side by side.",
        epilog=f"scenarios: {', '.join(SCENARIOS)}",
    )
    add = parser.add_argument
    add(
        "scenario",
        nargs="*",
        metavar="SCENARIO",
        help="what to measure, all of it by default; or report, which only makes the"
        " tables and charts again from the raw results",
    )
    add("--rounds", type=int, default=21, metavar="N", help="default: %(default)s")
    add(
        "--seconds",
        type=int,
        default=1,
        metavar="S",
        help="for each server in each round; default: %(default)s",
    )
    add(
        "--only-peers",
        type=lambda value: value.split(","),
        default=[],
        metavar="A,B",
        help=f"of {', '.join(name for name in PEERS if not name.startswith('ours'))}",
    )
    add(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="DIR",
        help="where files to serve and built programs are kept",
    )
    add(
        "--results",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help="where raw results go; default: benchmarks/results",
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1:
        parser.error("rounds and seconds are 1 or more")
    if unknown := {*options.scenario} - {*SCENARIOS, "report"}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if unknown := {*options.only_peers} - {*PEERS}:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


def _report(session: Session, folder: Path) -> int:
    # Only charts need the extra.
    try:
        from benchmarks.charts import draw_all  # noqa: PLC0415
    except ImportError as error:
        session.say(f"{error}: charts need pip install -e '.[bench]'")
        return 1
    results = newest(folder)
    for path in (*draw_all(results), *update_texts(results)):
        session.say(str(path))
    return 0


def _say_peers(session: Session, scenarios: list[Scenario]) -> None:
    if find_program("wrk") is None:
        session.say("wrk: missing; apt-get install wrk")
    needed = {name for each in scenarios for name in each.contenders}
    for name, peer in PEERS.items():
        if name in needed:
            version = session.version(name)
            session.say(f"{name}: {version or f'missing; {peer.remedy}'}")


def _run(scenario: Scenario, session: Session, folder: Path, run: str) -> None:
    contenders = session.choose(scenario.contenders)
    session.say(f"{scenario.name}: {scenario.what}")
    rounds: list[Round] = []
    for figures in scenario.play(session, contenders):
        rounds.append(figures)
        shown = [
            f"{name} {each[scenario.chart]:.2f}"
            for name, each in figures.items()
            if name in contenders
        ]
        what = ", ".join(shown) or f"{len(figures)} cases"
        session.say(f"  {len(rounds)}/{session.rounds}: {what}")
    result = make_result(scenario, session, rounds)
    for name in contenders:
        values = result.series(name, scenario.chart)
        if values:
            session.say(f"  {title(name)}: {estimate(values)} {scenario.chart}")
    for target in scenario.targets:
        verdict = judge(target, result)
        if verdict:
            by = f" ({verdict.peer})" if verdict.peer else ""
            said = f"{describe(target)}: {verdict.value}{by}"
            session.say(f"  {said} {verdict.outcome.value}")
    session.say(f"  saved as {save(result, folder, run)}")


if __name__ == "__main__":
    sys.exit(main())

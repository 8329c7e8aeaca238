"""Raw results: one JSON file for each scenario of each run, never edited.

A run has a folder named after its date; the newest quotable result of a scenario
counts. What can't be quoted goes to a folder that is not committed. Of a scenario
that the machine does not allow, the reason is kept instead of rounds.
"""

import json
import os
import platform
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.peers import find_program_version
from benchmarks.scenarios.model import Scenario
from benchmarks.sessions import Round, Session

FOLDER = Path(__file__).parent / "results"
QUOTABLE_ROUNDS = 7

_SYSCTLS = (
    "fs/pipe-max-size",
    "fs/pipe-user-pages-soft",
    "net/core/optmem_max",
    "net/core/rmem_max",
    "net/core/somaxconn",
    "net/core/wmem_max",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_notsent_lowat",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one scenario gave, and where and how."""

    scenario: str
    quotable: bool
    settings: dict[str, Any]
    environment: dict[str, Any]
    servers: dict[str, dict[str, Any]]
    rounds: list[Round]
    skipped: str = ""
    """Why nothing was measured."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote."""
        return cls(**json.loads(path.read_text()))

    def series(self, server: str, measure: str) -> list[float] | None:
        """Return a measure of a server, round by round; None if there is none."""
        values = [figures.get(server, {}).get(measure) for figures in self.rounds]
        known = [value for value in values if value is not None]
        return known if known and len(known) == len(values) else None


def make_result(
    scenario: Scenario, session: Session, rounds: Sequence[Round], skipped: str = ""
) -> Result:
    """Put together what is known after the last round, or why there was none."""
    names = tuple(rounds[0]) if rounds else ()
    return Result(
        scenario=scenario.name,
        quotable=(session.rounds if skipped else len(rounds)) >= QUOTABLE_ROUNDS,
        settings={
            "rounds": len(rounds),
            "seconds": session.seconds,
            **scenario.settings,
        },
        environment=describe_environment(),
        servers={
            name: session.describe(name)
            for name in scenario.contenders
            if name in names
        },
        rounds=[_rounded(each) for each in rounds],
        skipped=skipped,
    )


def save(result: Result, folder: Path, run: str) -> Path:
    """Write a result, and return where it is."""
    place = folder / run if result.quotable else folder / "quick" / run
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{result.scenario}.json"
    fields = {name: getattr(result, name) for name in Result.__slots__}
    path.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n")
    return path


def newest(folder: Path) -> dict[str, Result]:
    """Return the newest quotable result of each scenario.

    One that was skipped counts only where none was measured.
    """
    found: dict[str, Result] = {}
    for path in sorted(folder.glob("[0-9]*/*.json")):
        result = Result.load(path)
        if result.quotable and (result.rounds or result.scenario not in found):
            found[result.scenario] = result
    return found


def name_run() -> str:
    """Return the name of a run that begins now."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}Z"


def describe_environment() -> dict[str, Any]:
    """Return what figures depend on, and nothing that names the machine."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line for line in cpus if line.startswith("model name")), ":")
    memory = Path("/proc/meminfo").read_text().split(None, 2)[1]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "commit": _git("rev-parse", "HEAD"),
        "is_modified": bool(_git("status", "--porcelain", "--", "sendfile_server")),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": model.partition(":")[2].strip(),
        "cpus": os.cpu_count(),
        "memory_mib": int(memory) // 1024,
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "python": platform.python_version(),
        "wrk": find_program_version("wrk", "-v"),
        "sysctl": {
            name.replace("/", "."): " ".join(path.read_text().split())
            for name in _SYSCTLS
            if (path := Path("/proc/sys", name)).exists()  # not in each namespace
        },
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - whichever git there is
            cwd=FOLDER.parent,
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _rounded(figures: Round) -> Round:
    return {
        server: {name: round(value, 4) for name, value in measures.items()}
        for server, measures in figures.items()
    }

"""The command of the benchmarks: what it refuses before anything is measured."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("hot-1k", "nope"), "no such scenario: nope"),
        (("hot-1k", "--only-peers", "nginx,nope"), "no such peer: nope"),
        (("hot-1k", "--rounds", "0"), "rounds and seconds are 1 or more"),
    ],
)
def test_what_is_not_known_is_refused(
    arguments: tuple[str, ...], complaint: str
) -> None:
    """With code 2, and what it is."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: {complaint}\n")

"""Lint, types and the coverage of the pure stages are part of the suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PURE = ("semantics", "protocol", "response")


def run(*arguments: str, **environment: str) -> None:
    """Run a module of this interpreter, and show what it says if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=TOP,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ruff", "check", "."), id="lint"),
        pytest.param(("ruff", "format", "--check", "."), id="format"),
        pytest.param(("mypy",), id="types"),
    ],
)
def test_source_is_clean(command: tuple[str, ...]) -> None:
    """Neither the linter, nor the formatter, nor the type checker complains."""
    run(*command)


def test_pure_stages_are_covered(tmp_path: Path) -> None:
    """Every branch of the pure stages is taken by the tests of the pure stages.

    By those that do the same each time, not by what Hypothesis happens to draw.
    """
    data = str(tmp_path / "coverage")
    sources = ",".join(f"sendfile_server.{name}" for name in PURE)
    folders = [f"tests/{name}" for name in PURE]
    # Without our conftest.py, by which it would wait for a test that is to be alone,
    # and that test for this one.
    alike = ("-n0", "--noconftest", "-p", "no:cacheprovider", "-m", "not hypothesis")
    pytest_run = ("-m", "pytest", "-q", *alike, *folders)
    run(
        *("coverage", "run", "--branch", f"--source={sources}", *pytest_run),
        COVERAGE_FILE=data,
    )
    run("coverage", "report", "-m", "--fail-under=100", COVERAGE_FILE=data)

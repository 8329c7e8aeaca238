"""The conformance cases that are kept beside this repository, where they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import Serve, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUNNER = Path(__file__).parents[2].parent / "shared/conformance/run_cases.py"
# As root, no permission bit says no.
UNPRIVILEGED = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """Build the tree that the cases are about."""
    if not RUNNER.exists():
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("the conformance cases are not here")
    command = [sys.executable, str(RUNNER), "build", str(tmp_path)]
    return Path(subprocess.check_output(command, text=True).strip())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_case_passes(serve: Serve, www: Path, workers: int) -> None:
    """The answers are right, by one worker and by two."""
    _run_cases(serve(www, "--workers", str(workers)))


def test_cases_of_permissions_pass(serve: Serve, www: Path) -> None:
    """Without the privilege to read everything, forbidden files are refused."""
    if not shutil.which("setpriv"):
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("not installed: setpriv")
    prefix = () if os.geteuid() else UNPRIVILEGED
    _run_cases(serve(www, "--workers", "1", prefix=prefix), "--feature", "nonroot")


@pytest.mark.slow
def test_cases_of_deadlines_pass(serve: Serve, www: Path) -> None:
    """Clients that say or take nothing for too long are let go."""
    deadlines = {"--header-timeout": 3, "--keepalive-timeout": 3, "--send-timeout": 5}
    options = [str(word) for pair in deadlines.items() for word in pair]
    _run_cases(serve(www, "--workers", "1", *options), "--slow")


def _run_cases(server: Server, *options: str) -> None:
    command = [sys.executable, str(RUNNER), "run", str(server.port), "--quiet"]
    run = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr + server.log.read_text()

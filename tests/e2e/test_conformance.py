"""The sample of conformance cases, against the real command."""

import subprocess
import sys
from pathlib import Path

import pytest

from running import Serve
from tools import need, need_folder

pytestmark = pytest.mark.e2e

CASES = Path(__file__).parents[3] / "shared" / "conformance"
RUNNER = CASES / "run_cases.py"
# To read what its mode forbids is a privilege of root, and of this capability.
WITHOUT_PRIVILEGE = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Build the tree that the cases are about."""
    need_folder(CASES)
    command = [sys.executable, str(RUNNER), "build", str(tmp_path)]
    built = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(built.stdout.strip())


def run(port: int, *options: str) -> None:
    """Run the cases, and show those that fail."""
    command = [sys.executable, str(RUNNER), "run", str(port), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_follows_the_rfcs(serve: Serve, tree: Path, workers: str) -> None:
    """Every case of level must and should passes."""
    run(serve(tree, "--workers", workers).port)


def test_follows_the_rfcs_without_privilege(serve: Serve, tree: Path) -> None:
    """So do those about files that may not be read."""
    need("setpriv")
    server = serve(tree, "--workers", "2", prefix=WITHOUT_PRIVILEGE)
    run(server.port, "--feature", "nonroot")


@pytest.mark.slow
def test_deadlines_are_kept(serve: Serve, tree: Path) -> None:
    """So do those that wait for a time-out, with short ones."""
    short = ("--header-timeout", "3", "--keepalive-timeout", "3")
    server = serve(tree, *short, "--send-timeout", "5")
    run(server.port, "--slow", "--only", "^SL")

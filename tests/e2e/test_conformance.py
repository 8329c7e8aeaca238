"""The sample of conformance cases, against the real command."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def test_deadlines_are_kept(
    serve: Serve, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do those that wait for a time-out, with short ones, and all at once.

    Who drips a head of fifty pieces does so ten times as fast as it is stated.
    """
    stated = json.loads((CASES / "cases.json").read_text())
    slow = [case for case in stated["cases"] if case.get("slow")]
    for case in slow:
        case["split_delay"] = case.get("split_delay", 0) / 10
    cases = tmp_path / "slow.json"
    cases.write_text(json.dumps(stated | {"cases": slow}))
    monkeypatch.setenv("CASES", str(cases))
    times = ("--header-timeout", "--keepalive-timeout", "--send-timeout")
    server = serve(tree, *(word for each in times for word in (each, "1")))

    def run_one(case: dict[str, str]) -> None:
        run(server.port, "--slow", "--only", f"^{case['id']}$")

    assert slow
    with ThreadPoolExecutor(len(slow)) as executor:
        list(executor.map(run_one, slow))

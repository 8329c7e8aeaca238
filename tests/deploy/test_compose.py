"""compose.yaml: what it says, in itself; test_container.py has it run."""

from pathlib import Path
from typing import Any

import yaml

from containers import run
from sendfile_server.config import Config
from tools import need

TOP = Path(__file__).parents[2]
FILE = TOP / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]


def test_file_is_valid() -> None:
    """Compose takes it, and the files that are mounted are there."""
    need("docker-compose")
    run("docker-compose", "-f", str(FILE), "config", "--quiet")
    mounted = [each for name in SERVICES for each in SERVICES[name]["volumes"]]

    assert mounted
    assert all((TOP / each.partition(":")[0]).exists() for each in mounted)


def test_there_is_time_to_drain() -> None:
    """The server is killed only after its grace."""
    given = SERVICES["site"]["stop_grace_period"].removesuffix("s")

    assert int(given) > Config.grace

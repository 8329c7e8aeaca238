"""The units of systemd, by its own programs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from running import Serve
from tools import need
from wire import fetch

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """Copy the units, for a server that is installed where this one is."""
    need("systemd-analyze")
    program = Path(sys.executable).with_name("sendfile-serve")
    copies = []
    for unit in UNITS.iterdir():
        copy = tmp_path / unit.name
        text = unit.read_text().replace(
            "/opt/sendfile-server/bin/sendfile-serve", str(program)
        )
        copy.write_text(text)
        copies.append(str(copy))
    return copies


def analyze(*arguments: str) -> str:
    """Return what systemd says of something."""
    done = subprocess.run(
        ("systemd-analyze", *arguments), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_units_are_right(units: list[str]) -> None:
    """Nothing in them is unknown, or is at odds with anything else."""
    assert analyze("verify", *units) == ""


def test_service_may_do_little(units: list[str]) -> None:
    """Of 10, at which nothing is held back, its exposure is below 2."""
    (service,) = (each for each in units if each.endswith(".service"))
    analyze("security", "--offline=true", "--threshold=20", service)


def allowed(filters: list[str]) -> set[str]:
    """Return the system calls that SystemCallFilter= lines let through."""
    calls: set[str] = set()
    for line in filters:
        is_denied, names = line.startswith("~"), line.lstrip("~").split()
        named = set().union(*map(members, names))
        calls = calls - named if is_denied else calls | named
    return calls


def members(name: str) -> set[str]:
    """Return the system calls of a group, or the one that *name* is."""
    if not name.startswith("@"):
        return {name}
    lines = analyze("syscall-filter", name).splitlines()[1:]
    names = [line.strip() for line in lines if not line.strip().startswith("#")]
    return set().union(*(members(each) for each in names if each))


def test_server_calls_nothing_else(serve: Serve, site: Path, tmp_path: Path) -> None:
    """What it needs of the kernel, from its start to its end, the unit allows."""
    need("strace", "systemd-analyze")
    trace, metrics = tmp_path / "trace", ("--metrics", f"unix:{tmp_path}/metrics")
    # The program alone: what runs strace is not filtered.
    options = ("--workers", "2", "--access-log", str(tmp_path / "log"), *metrics)
    server = serve(site, *options, prefix=("strace", "-f", "-o", str(trace)))
    for target in ("/", "/dir", "/mib.bin", "/no", "/digits.txt"):
        fetch(server.port, target, "Range: bytes=1-")
    fetch(f"{tmp_path}/metrics", "/metrics")
    assert server.stop() == 0

    text = (UNITS / "sendfile-serve.service").read_text()
    may = allowed(re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE))
    did = set(re.findall(r"^[0-9]+ +([a-z0-9_]+)\(", trace.read_text(), re.MULTILINE))
    assert {"sendfile", "openat2", "accept4"} <= did
    # Whose lack it is prepared for; strace may not know its name either.
    assert did - may <= {"cachestat", "syscall_0x1c3"}

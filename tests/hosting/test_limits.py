"""CPUs by quota and descriptors by limit, as the machine states them."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sendfile_server.hosting.limits import cgroup_cpus, default_workers


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", None),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", 2),
        ("200000 100000", 2),
        ("200001 100000", 3),
        ("1000 50000", 1),
        ("400000 50000", 8),
        ("", None),
        ("nonsense", None),
    ],
    ids=lambda value: f"[{value}]",
)
def test_quota_is_rounded_up(tmp_path: Path, quota: str, cpus: int | None) -> None:
    """Half a CPU is one worker; no quota, or none that makes sense, is None."""
    membership = _write(tmp_path / "membership", "0::/app\n")
    _write(tmp_path / "mount/app/cpu.max", f"{quota}\n")
    assert cgroup_cpus(membership, tmp_path / "mount") == cpus


def test_least_quota_of_all_levels_holds(tmp_path: Path) -> None:
    """A group can't use more than the groups above it."""
    membership = _write(tmp_path / "membership", "0::/slice/service/app\n")
    mount = tmp_path / "mount"
    _write(mount / "slice/cpu.max", "200000 100000")
    _write(mount / "slice/service/cpu.max", "max 100000")
    _write(mount / "slice/service/app/cpu.max", "600000 100000")
    _write(mount / "other/cpu.max", "100000 100000")
    assert cgroup_cpus(membership, mount) == 2


def test_quota_at_the_mount_holds(tmp_path: Path) -> None:
    """In a container, the group is the mount itself."""
    membership = _write(tmp_path / "membership", "0::/\n")
    _write(tmp_path / "mount/cpu.max", "300000 100000")
    assert cgroup_cpus(membership, tmp_path / "mount") == 3


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [("-1", "100000", None), ("250000", "100000", 3), ("", "100000", None)],
)
def test_version_1_has_two_files(
    tmp_path: Path, quota: str, period: str, cpus: int | None
) -> None:
    """The quota of the cpu controller's group; -1 is none."""
    lines = "12:memory:/elsewhere\n4:cpu,cpuacct:/docker/app\n0::/none\n"
    membership = _write(tmp_path / "membership", lines)
    group = tmp_path / "mount/cpu/docker/app"
    _write(group / "cpu.cfs_quota_us", f"{quota}\n")
    _write(group / "cpu.cfs_period_us", f"{period}\n")
    _write(tmp_path / "mount/cpu/elsewhere/cpu.cfs_quota_us", "1\n")
    assert cgroup_cpus(membership, tmp_path / "mount") == cpus


def test_both_versions_may_be_mounted(tmp_path: Path) -> None:
    """The least of either holds."""
    membership = _write(tmp_path / "membership", "1:cpu:/app\n0::/app\n")
    mount = tmp_path / "mount"
    _write(mount / "app/cpu.max", "700000 100000")
    _write(mount / "cpu/app/cpu.cfs_quota_us", "500000")
    _write(mount / "cpu/app/cpu.cfs_period_us", "100000")
    assert cgroup_cpus(membership, mount) == 5


def test_path_with_a_colon_is_read_whole(tmp_path: Path) -> None:
    """Only the first two colons of a line separate (cgroups(7))."""
    membership = _write(tmp_path / "membership", "0::/a:b\n")
    _write(tmp_path / "mount/a:b/cpu.max", "200000 100000")
    assert cgroup_cpus(membership, tmp_path / "mount") == 2


def test_no_cgroups_are_no_quota(tmp_path: Path) -> None:
    """Where nothing is mounted, or said, nothing is limited."""
    assert cgroup_cpus(tmp_path / "missing", tmp_path) is None
    membership = _write(tmp_path / "membership", "0::/app\n")
    assert cgroup_cpus(membership, tmp_path / "missing") is None


def test_default_is_a_worker_for_each_cpu_we_may_use() -> None:
    """One at least, four at most, and no more than the affinity allows."""
    count = len(os.sched_getaffinity(0))
    assert 1 <= default_workers() <= min(4, count)
    code = """
import os
from sendfile_server.hosting.limits import default_workers
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print(default_workers())
"""
    assert _run(code) == "1"


@pytest.mark.parametrize(
    ("hard", "spare", "wanted", "expected"),
    [
        (264, 0, 8192, 100),
        (264, 0, 50, 50),
        (265, 0, 8192, 100),
        (264, 20, 8192, 90),
        (66, 0, 8192, 1),
        (64, 0, 8192, 1),
        (40, 20, 8192, 1),
    ],
)
def test_connections_fit_the_descriptor_limit(
    hard: int, spare: int, wanted: int, expected: int
) -> None:
    """Two each, and 64 for the rest beside what is spare; the soft limit is raised."""
    code = f"""
import resource
from sendfile_server.hosting.limits import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({min(hard, 30)}, {hard}))
fit = raise_descriptor_limit({wanted}, 2, {spare})
print(fit, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert _run(code) == f"{expected} {hard} {hard}"


def test_high_limit_is_enough_for_all() -> None:
    """With descriptors to spare, what is wanted is what fits."""
    code = """
from sendfile_server.hosting.limits import raise_descriptor_limit
print(raise_descriptor_limit(3, 2, 0))
"""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 70
    assert _run(code) == "3"


@pytest.mark.parametrize(
    ("hard", "connections", "expected"),
    [(2000, 100, 512), (300, 100, 36), (264, 100, 0), (264, 200, 0)],
    ids=["plenty", "some left", "none left", "too few already"],
)
def test_kept_files_get_what_connections_leave(
    hard: int, connections: int, expected: int
) -> None:
    """No connection is refused for the sake of a file that is kept open."""
    code = f"""
import resource
from sendfile_server.hosting.limits import kept_files
resource.setrlimit(resource.RLIMIT_NOFILE, ({hard}, {hard}))
print(kept_files(2 * {connections}))
"""
    assert _run(code) == str(expected)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _run(code: str) -> str:
    """Run *code* in a process of its own, whose limits it may lower."""
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, text=True).strip()

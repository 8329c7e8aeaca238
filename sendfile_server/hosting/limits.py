"""What the machine lets us use: CPUs and descriptors."""

import math
import os
import resource
from pathlib import Path

_MAX_DEFAULT_WORKERS = 4
# For the loop, the listeners, the logs, the interpreter, and files being opened.
_OTHER_DESCRIPTORS = 64
# Files that a worker keeps open from one request to the next.
_MAX_KEPT_FILES = 512


def default_workers() -> int:
    """Return how many processes there is a CPU for, at most 4."""
    cpus = len(os.sched_getaffinity(0))
    quota = cgroup_cpus(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, min(cpus, quota or cpus, _MAX_DEFAULT_WORKERS))


def cgroup_cpus(membership: Path, mount: Path) -> int | None:
    """Return the CPUs that the cgroup's quota amounts to, rounded up, or None.

    *membership* lists the groups of the process (cgroups(7)); the group and
    each one above it may have a quota, and the least holds.
    """
    quotas = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        for level in (group, *group.parents):
            if not controllers:
                quotas.append(_quota(mount / level / "cpu.max"))
            elif "cpu" in controllers.split(","):
                quotas.append(_quota_v1(mount / "cpu" / level))
    known = [quota for quota in quotas if quota]
    return math.ceil(min(known)) if known else None


def raise_descriptor_limit(
    wanted_connections: int, descriptors: int, spare: int
) -> int:
    """Raise the soft limit to the hard one; return how many connections fit.

    At most *wanted_connections*, of one process; each takes so many *descriptors*,
    and so many are to be *spare* (getrlimit(2), RLIMIT_NOFILE).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted_connections
    fit = (hard - _OTHER_DESCRIPTORS - spare) // descriptors
    return max(1, min(wanted_connections, fit))


def kept_files(in_use: int) -> int:
    """Return how many files may stay open beside so many descriptors *in_use*."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return _MAX_KEPT_FILES
    left = hard - _OTHER_DESCRIPTORS - in_use
    return max(0, min(left, _MAX_KEPT_FILES))


def _quota(file: Path) -> float | None:
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # "max" is no quota
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None

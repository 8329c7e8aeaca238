"""A disk that is slow for some processes, and files that are not in memory.

The kernel slows it down: by io.max of a cgroup (cgroup v2, admin-guide/cgroup-v2),
or by blkio.throttle.read_bps_device (cgroup v1, admin-guide/cgroup-v1).
"""

import contextlib
import os
import selectors
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BenchmarkError, UnavailableError

DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The tree of cgroups that has control of disks, and how it is told a limit."""

    top: Path
    file: str
    form: str

    def limit(self, device: str, bytes_per_s: int) -> str:
        """Return what to write to limit the reads of *device*, a MAJOR:MINOR."""
        return self.form.format(device=device, bytes_per_s=bytes_per_s)


def find_hierarchy(mounts: str) -> Hierarchy | None:
    """Return the one that *mounts* has, in the form of /proc/self/mountinfo.

    With both versions mounted, version 1 has what it is mounted with.
    """
    unified = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        top = Path(before.split()[4])
        if kind == "cgroup" and "blkio" in options.split(","):
            file = "blkio.throttle.read_bps_device"
            return Hierarchy(top, file, "{device} {bytes_per_s}")
        if kind == "cgroup2":
            unified = Hierarchy(top, "io.max", "{device} rbps={bytes_per_s}")
    return unified


def find_disk(path: Path) -> str:
    """Return MAJOR:MINOR of the disk that has *path*; not of the partition."""
    device = path.stat().st_dev
    about = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not about.exists():
        raise UnavailableError("the files to serve are on no disk of their own")
    if (about / "partition").exists():
        about = about.resolve().parent
    return (about / "dev").read_text().strip()


@contextlib.contextmanager
def slow_disk(name: str, path: Path, bytes_per_s: int) -> Iterator[Path]:
    """Make a cgroup in which the disk of *path* is slow, within a ``with`` block.

    Yields the file to which the ids of its processes are written. Raises
    UnavailableError, with what the kernel said, where it can't be made.
    """
    found = find_hierarchy(Path("/proc/self/mountinfo").read_text())
    if found is None:
        raise UnavailableError("no cgroup can limit a disk: none is mounted")
    group = found.top / f"benchmarks-{os.getpid()}-{name}"
    try:
        group.mkdir()
    except OSError as error:
        raise UnavailableError(f"no cgroup can be made: {error.strerror}") from None
    try:
        if not (group / found.file).exists():
            raise UnavailableError(f"a cgroup has no {found.file} here")
        try:
            (group / found.file).write_text(
                found.limit(find_disk(path), bytes_per_s) + "\n"
            )
        except OSError as error:
            raise UnavailableError(f"{found.file}: {error.strerror}") from None
        yield group / "cgroup.procs"
    finally:
        _remove(group)


def evict(paths: Sequence[Path]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(file)  # what is dirty can't be dropped
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _remove(group: Path) -> None:
    # Not before its processes are gone, and the last read of one may take a while.
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            group.rmdir()
        except OSError as error:
            if time.monotonic() > end:
                raise BenchmarkError(f"a cgroup is left: {error.strerror}") from None
            selectors.SelectSelector().select(0.01)  # a pause
        else:
            return

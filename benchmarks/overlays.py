"""An overlayfs above a directory, which only the processes under it can see.

It is mounted in a mount namespace of their own, and goes with the last of them.
Where this is not root, the namespace is that of a user who is root there
(user_namespaces(7)), which Linux allows for overlayfs since 5.11.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BenchmarkError, UnavailableError
from benchmarks.peers import find_program

_MOUNT = 'mount -t overlay -o "$0" overlay "$1" && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class Overlay:
    """Where a directory appears on overlayfs, and for whom."""

    root: Path
    wrapper: tuple[str, ...]
    """The command that mounts it, and executes what comes after in its place."""

    def check(self, pid: int) -> None:
        """Raise BenchmarkError unless the process *pid* sees it."""
        mounts = Path(f"/proc/{pid}/mountinfo").read_text()
        if not has_overlay(mounts, self.root):
            raise BenchmarkError(f"process {pid} does not see the overlayfs")


@contextlib.contextmanager
def overlay(cache: Path, lower: Path) -> Iterator[Overlay]:
    """Prepare an overlayfs whose lower layer is *lower*, within a ``with`` block.

    The upper layer is empty, and in *cache*. Raises UnavailableError, with what was
    said, where none can be mounted.
    """
    unshare = find_program("unshare")
    if unshare is None:
        raise UnavailableError("unshare is missing: apt-get install util-linux")
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="overlay-", dir=cache) as name:
        places = {each: Path(name, each) for each in ("upper", "work", "root")}
        for place in places.values():
            place.mkdir()
        options = (
            f"lowerdir={lower},upperdir={places['upper']},workdir={places['work']}"
            + ("" if is_root else ",userxattr")
        )
        namespaces = "--mount" if is_root else "--map-root-user --mount"
        wrapper = (
            *(unshare, *namespaces.split(), "--propagation", "private"),
            *("sh", "-c", _MOUNT, options, str(places["root"])),
        )
        tried = subprocess.run(  # noqa: S603 - mount(8), and nothing under it
            [*wrapper, "true"], check=False, capture_output=True, text=True
        )
        if tried.returncode:
            # What is before the reason names places of this machine.
            reason = tried.stderr.strip().rpartition(": ")[2]
            raise UnavailableError(f"no overlayfs can be mounted: {reason}")
        yield Overlay(places["root"], wrapper)


def has_overlay(mounts: str, place: Path) -> bool:
    """Tell whether *mounts*, as in /proc/PID/mountinfo, have an overlayfs there."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4] == str(place) and after.startswith("overlay "):
            return True
    return False

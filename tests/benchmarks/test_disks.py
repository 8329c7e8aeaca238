from pathlib import Path

import pytest

from benchmarks.disks import Hierarchy, find_hierarchy

BLKIO = "35 29 0:31 / /cgroup/blkio rw,relatime - cgroup cgroup rw,blkio"
BOTH = "36 29 0:32 / /cgroup/cpu,io rw shared:7 - cgroup cgroup rw,cpu,blkio"
MEMORY = "37 29 0:33 / /cgroup/memory rw - cgroup cgroup rw,memory"
UNIFIED = "30 29 0:26 / /cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw"
ROOT = "29 1 254:0 / / rw,relatime - ext4 /dev/vda rw,errors=remount-ro"

V1 = "blkio.throttle.read_bps_device"


@pytest.mark.parametrize(
    ("mounts", "top", "file"),
    [
        pytest.param([ROOT, BLKIO], "/cgroup/blkio", V1, id="version-1"),
        pytest.param([ROOT, BOTH], "/cgroup/cpu,io", V1, id="with-another-controller"),
        pytest.param([ROOT, UNIFIED], "/cgroup/unified", "io.max", id="version-2"),
        pytest.param([ROOT, UNIFIED, BLKIO], "/cgroup/blkio", V1, id="both-versions"),
        pytest.param([MEMORY, UNIFIED], "/cgroup/unified", "io.max", id="other-in-1"),
    ],
)
def test_hierarchy_is_the_one_that_has_disks(
    mounts: list[str], top: str, file: str
) -> None:
    """What version 1 is mounted with is not in version 2."""
    found = find_hierarchy("\n".join(mounts))

    assert found is not None
    assert (found.top, found.file) == (Path(top), file)


def test_there_may_be_no_hierarchy() -> None:
    """A container often has none, or none for disks."""
    assert find_hierarchy(f"{ROOT}\n{MEMORY}") is None


@pytest.mark.parametrize(
    ("mounts", "limit"), [(BLKIO, "254:0 1048576"), (UNIFIED, "254:0 rbps=1048576")]
)
def test_limit_is_in_the_form_of_the_file(mounts: str, limit: str) -> None:
    """Each version has its own."""
    found = find_hierarchy(mounts)

    assert isinstance(found, Hierarchy)
    assert found.limit("254:0", 1 << 20) == limit

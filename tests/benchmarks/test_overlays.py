from pathlib import Path

import pytest

from benchmarks.overlays import has_overlay

OVERLAY = "65 43 0:39 / /srv rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b"
EXT4 = "43 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"


@pytest.mark.parametrize(
    ("mounts", "place", "has"),
    [
        pytest.param([EXT4, OVERLAY], "/srv", True, id="there"),
        pytest.param([EXT4, OVERLAY], "/", False, id="another-file-system"),
        pytest.param([EXT4, OVERLAY], "/srv/www", False, id="not-a-mount"),
        pytest.param([EXT4], "/srv", False, id="not-mounted"),
    ],
)
def test_overlay_is_found_by_its_place(
    mounts: list[str], place: str, has: bool
) -> None:
    """A server that does not see it must not be measured in its name."""
    assert has_overlay("\n".join(mounts), Path(place)) is has

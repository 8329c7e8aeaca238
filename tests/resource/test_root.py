"""A served directory that a deployment swaps, and one that goes away."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from running import opened
from sendfile_server.resource.containment import open_by_walk
from sendfile_server.resource.files import Descriptor
from sendfile_server.resource.root import Root, is_remote
from tools import give_up


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """Make two releases, and a link to the first."""
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "version").write_text(name)
    link = tmp_path / "current"
    link.symlink_to("v1")
    return link


def swap_link(current: Path) -> None:
    """Point the link to the second release, in one step."""
    new = current.with_name("new")
    new.symlink_to("v2")
    new.rename(current)


def replace_directory(current: Path) -> None:
    """Put another directory in the place of the one that the link leads to."""
    first = current.with_name("v1")
    first.rename(current.with_name("old"))
    current.with_name("v2").rename(first)


@pytest.mark.parametrize("deploy", [swap_link, replace_directory])
def test_deployment_is_followed_when_it_is_due(
    current: Path, deploy: Callable[[Path], None]
) -> None:
    """The new tree is served after the freshness interval, the old one before."""
    root = Root(str(current), freshness=3)
    root.renew(100)
    deploy(current)
    for now, version in ((100, "v1"), (102, "v1"), (103, "v2"), (104, "v2")):
        root.renew(now)
        assert _version(root) == version


def test_deployment_is_followed_after_the_clock_was_set_back(current: Path) -> None:
    """A time before the last look is a time to look again."""
    root = Root(str(current), freshness=3)
    root.renew(100)
    swap_link(current)
    root.renew(50)
    assert _version(root) == "v2"


@pytest.mark.parametrize("deploy", [swap_link, replace_directory])
def test_deployment_is_followed_at_once_without_freshness(
    current: Path, deploy: Callable[[Path], None]
) -> None:
    """With a freshness of 0, each look follows the path again."""
    root = Root(str(current), freshness=0)
    root.renew(100)
    deploy(current)
    root.renew(100)
    assert _version(root) == "v2"


def test_way_of_opening_outlasts_a_deployment(current: Path) -> None:
    """A forced opener is used for the new directory as well."""
    root = Root(str(current), 0, open_by_walk)
    swap_link(current)
    root.renew(1)
    assert _version(root) == "v2"
    with pytest.raises(BlockingIOError):
        root.open_cached(b"version")


def test_vanished_path_serves_the_old_directory(current: Path) -> None:
    """While the path leads nowhere, or to a file, nothing changes."""
    root = Root(str(current), freshness=0)
    current.unlink()
    root.renew(1)
    assert _version(root) == "v1"
    current.write_text("no directory")
    root.renew(2)
    assert _version(root) == "v1"
    current.unlink()
    current.symlink_to("v2")
    root.renew(3)
    assert _version(root) == "v2"


def test_old_directory_is_let_go(current: Path) -> None:
    """After a deployment, no descriptor keeps the old release alive."""
    root = Root(str(current), freshness=0)
    old = str(current.with_name("v1"))
    assert old in opened(os.getpid())
    swap_link(current)
    root.renew(1)
    assert old not in opened(os.getpid())


def test_file_outlives_its_root(current: Path) -> None:
    """What is being sent from the old release is sent to its end."""
    root = Root(str(current), freshness=0)
    file = Descriptor(root.open(b"version"))
    swap_link(current)
    root.renew(1)
    assert os.pread(file.number, 10, 0) == b"v1"
    assert _version(root) == "v2"


def test_root_must_be_a_directory(current: Path) -> None:
    """A missing root and a root that is a file are errors."""
    with pytest.raises(FileNotFoundError):
        Root(str(current / "missing"), 1)
    with pytest.raises(NotADirectoryError):
        Root(str(current / "version"), 1)


def test_directory_is_told_from_a_file(current: Path) -> None:
    """Links included, as the path resolves below the root."""
    (current / "sub").mkdir()
    (current / "link").symlink_to("sub")
    root = Root(str(current), 1)
    assert root.is_directory(b"sub")
    assert root.is_directory(b"link")
    assert not root.is_directory(b"version")
    with pytest.raises(FileNotFoundError):
        root.is_directory(b"missing")


def test_cached_opening_is_the_same_file(current: Path) -> None:
    """Where the kernel can open from its cache, it opens the very same file."""
    root = Root(str(current), 1)
    plain = Descriptor(root.open(b"version"))
    try:
        cached = Descriptor(root.open_cached(b"version"))
    except BlockingIOError:
        give_up("this kernel or file system has no cached lookups")
    assert os.path.sameopenfile(plain.number, cached.number)


def test_local_file_system_is_not_remote(current: Path) -> None:
    """Neither what tests write to nor /proc waits for another machine."""
    assert not Root(str(current), 1).is_remote
    assert not Root("/proc", 1).is_remote


def test_what_cannot_be_told_is_not_remote() -> None:
    """A closed descriptor has no file system."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    assert not is_remote(writer)


def _version(root: Root) -> str:
    file = Descriptor(root.open(b"version"))
    return os.pread(file.number, 10, 0).decode()

"""Files that stay open: which, for how long, and what is noticed of them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from running import opened
from sendfile_server.resource.files import OpenFile, read
from sendfile_server.resource.open_files import OpenFiles
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.representations import Refusal
from tools import give_up

SMALLEST = 100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode() * SMALLEST)
    (tmp_path / "small").write_bytes(bytes(SMALLEST - 1))
    return tmp_path


@pytest.fixture
def now() -> int:
    """Return a time at which all files were left alone for long."""
    return int(time.time()) + 10


def make(root: Path, capacity: int = 10, freshness: int = 1) -> OpenFiles:
    resolver = Resolver(Root(str(root), freshness), b"index.html", {})
    for name in (b"/a", b"/b", b"/c", b"/small", b"/missing"):
        resolver.resolve(name, 0)  # so that the kernel knows it
    if resolver.try_resolve(b"/a", 0) is None:
        give_up("this kernel has no cached lookups")
    return OpenFiles(resolver, capacity, SMALLEST, freshness)


def find(files: OpenFiles, target: bytes, now: int) -> OpenFile:
    found = files.try_resolve(target, now)
    assert found is not None
    assert isinstance(found.outcome, OpenFile)
    return found.outcome


def number_of(files: OpenFiles, target: bytes, now: int) -> int:
    """Return the descriptor of *target*, and let go of it here."""
    return find(files, target, now).descriptor.number


def paths() -> set[Path]:
    """Return what this process has open."""
    return set(map(Path, opened(os.getpid())))


def test_file_stays_open(root: Path, now: int) -> None:
    """Asked for again, it is the same, and no look is taken for it."""
    files = make(root)
    assert find(files, b"/a", now) is find(files, b"/a", now)
    assert root / "a" in paths()
    assert read(find(files, b"/a", now), 0, 1000) == b"a" * SMALLEST


def test_all_are_closed_at_the_end(root: Path, now: int) -> None:
    """Nobody else holds them."""
    files = make(root)
    find(files, b"/a", now)
    del files
    assert root / "a" not in paths()


def test_small_files_are_not_kept(root: Path, now: int) -> None:
    """They are remembered as answers; the smallest that is kept is not small."""
    files = make(root)
    number_of(files, b"/small", now)
    number_of(files, b"/a", now)
    assert paths() & {root / "small", root / "a"} == {root / "a"}


def test_what_is_no_file_is_not_kept(root: Path, now: int) -> None:
    """A refusal is asked for each time."""
    files = make(root)
    found = files.try_resolve(b"/missing", now)
    assert found is None or found.outcome == Refusal(404)
    (root / "missing").write_bytes(bytes(SMALLEST))
    files.try_resolve(b"/missing", now)
    assert find(files, b"/missing", now).representation.size == SMALLEST


def test_no_more_than_the_capacity_are_kept(root: Path, now: int) -> None:
    """The one that was opened first is closed for another one."""
    files = make(root, capacity=2)
    for name, kept in (("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "bc"), ("a", "ca")):
        number_of(files, f"/{name}".encode(), now)
        assert {path.name for path in paths() if path.parent == root} == set(kept)


def test_capacity_of_none_keeps_none(root: Path, now: int) -> None:
    """Then all is as without it."""
    files = make(root, capacity=0)
    assert find(files, b"/a", now).representation.size == SMALLEST
    assert root / "a" not in paths()


def test_file_outlives_its_place_while_it_is_used(root: Path, now: int) -> None:
    """Whoever sends it keeps it open, whatever becomes of it here."""
    files = make(root, capacity=1)
    file = find(files, b"/a", now)
    find(files, b"/b", now)
    assert read(file, 0, 1000) == b"a" * SMALLEST
    del file
    assert root / "a" not in paths()


def test_idle_file_is_closed(root: Path, now: int) -> None:
    """Some seconds after it was last asked for, and not while it is."""
    files = make(root)
    for name in (b"/a", b"/b"):
        number_of(files, name, now)
    for second in range(30):
        number_of(files, b"/a", now + second)
        files.close_idle(now + second)
        assert root / "a" in paths()
    assert root / "b" not in paths()


def test_clock_that_is_set_back_closes_all(root: Path, now: int) -> None:
    """What was used in a future that is no more would stay for too long."""
    files = make(root)
    number_of(files, b"/a", now)
    files.close_idle(now - 1)
    assert root / "a" not in paths()


def overwrite(path: Path) -> None:
    """Change the content, and nothing that stat(2) tells but the ctime."""
    state = path.stat()
    path.write_bytes(b"x" * SMALLEST)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, SMALLEST - 1)


@pytest.mark.parametrize("change", [overwrite, truncate, Path.touch])
def test_change_in_place_is_noticed_at_once(
    root: Path, now: int, change: Callable[[Path], None]
) -> None:
    """Whatever the freshness, a head would not belong to the body any more."""
    files = make(root, freshness=60)
    before = find(files, b"/a", now)
    change(root / "a")
    after = find(files, b"/a", now)
    assert after is not before
    size = os.stat(root / "a").st_size
    assert after.representation.size == size == len(read(after, 0, 1000))


@pytest.mark.parametrize("freshness", [0, 1, 5])
def test_another_file_is_noticed_after_the_freshness(
    root: Path, now: int, freshness: int
) -> None:
    """Until then the old one is sent, which nothing was done to."""
    # Not a link: to follow a new one may write its time of access, and no cached
    # lookup does that.
    for folder, name in (("dir", "a"), ("new", "b")):
        (root / folder).mkdir()
        (root / name).rename(root / folder / "file")
    files = make(root, freshness=freshness)
    find(files, b"/dir/file", now)
    (root / "dir").rename(root / "old")
    (root / "new").rename(root / "dir")
    for second in range(freshness):
        assert read(find(files, b"/dir/file", now + second), 0, 1) == b"a"
    for second in (freshness, freshness + 60):
        assert read(find(files, b"/dir/file", now + second), 0, 1) == b"b"


def test_only_what_was_looked_at_now_is_evidence(root: Path, now: int) -> None:
    """Who remembers it begins to count, so that both would add up."""
    files = make(root, freshness=3)
    for second, is_evidence in enumerate((True, False, False, True, False)):
        found = files.try_resolve(b"/a", now + second)
        assert found is not None
        assert isinstance(found.outcome, OpenFile)
        evidence = found.outcome.evidence if is_evidence else None
        assert found.evidence == evidence


def test_removed_file_gives_its_space_back(root: Path, now: int) -> None:
    """Nobody has to wait for a client that asks for it in vain."""
    files = make(root)
    number_of(files, b"/a", now)
    (root / "a").unlink()
    found = files.try_resolve(b"/a", now)
    assert found is None or found.outcome == Refusal(404)
    assert not any(path.name.startswith("a ") for path in paths())

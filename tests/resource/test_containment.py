"""Both ways to open below a directory, on real trees, alone and against each other."""

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.resource.containment import (
    LOOK_FLAGS,
    OPEN_FLAGS,
    Opener,
    choose_openers,
    open_beneath,
    open_beneath_cached,
    open_by_walk,
)
from tools import give_up

NOBODY = 65534

LINKS = {
    "to-file": "file",
    "to-link": "to-file",
    "to-dir": "a",
    "to-dir-slash": "a/",
    "to-file-slash": "file/",
    "short": "a/b",
    "dot": ".",
    "a/top": "..",
    "a/up": "../file",
    "a/b/round": "../../a/b/../inner",
    "out": "../secret",
    "a/out": "../../secret",
    "out-dir": "..",
    "out-and-in": "../root/file",
    "loop": "loop",
    "loop-dir": "loop-dir/x",
    "ping": "pong",
    "pong": "ping",
    "dangling": "missing",
    "a/dangling": "b/missing",
    "through-file": "file/../file",
}

FOUND = {
    "file": b"file",
    "./file": b"file",
    "a/inner": b"inner",
    "a//inner": b"inner",
    "a/./inner": b"inner",
    "a/../file": b"file",
    "a/b/../inner": b"inner",
    "a/b/deep": b"deep",
    "to-file": b"file",
    "to-link": b"file",
    "to-dir/inner": b"inner",
    "to-dir/b/deep": b"deep",
    "to-dir-slash/inner": b"inner",
    "to-dir/../file": b"file",
    "short/deep": b"deep",
    "short/../inner": b"inner",
    "dot/dot/file": b"file",
    "a/top/file": b"file",
    "a/up": b"file",
    "a/b/round": b"inner",
}

REFUSED = {
    "missing": errno.ENOENT,
    "a/missing": errno.ENOENT,
    "missing/../file": errno.ENOENT,
    "dangling": errno.ENOENT,
    "a/dangling": errno.ENOENT,
    "dangling/x": errno.ENOENT,
    "file/": errno.ENOTDIR,
    "file/.": errno.ENOTDIR,
    "file/x": errno.ENOTDIR,
    "file/../file": errno.ENOTDIR,
    "through-file": errno.ENOTDIR,
    "to-file/": errno.ENOTDIR,
    "to-file/x": errno.ENOTDIR,
    "to-file-slash": errno.ENOTDIR,
    "..": errno.EXDEV,
    "../secret": errno.EXDEV,
    "../root/file": errno.EXDEV,
    "a/../../secret": errno.EXDEV,
    "to-dir/../../secret": errno.EXDEV,
    "out": errno.EXDEV,
    "a/out": errno.EXDEV,
    "out-dir/secret": errno.EXDEV,
    "out-and-in": errno.EXDEV,
    "absolute": errno.EXDEV,
    "absolute-dir/inner": errno.EXDEV,
    "loop": errno.ELOOP,
    "loop-dir": errno.ELOOP,
    "loop-dir/x": errno.ELOOP,
    "ping": errno.ELOOP,
    "n" * 256: errno.ENAMETOOLONG,
    "a/" + "n" * 256 + "/x": errno.ENAMETOOLONG,
    "socket": errno.ENXIO,
}


@pytest.fixture(params=[open_beneath, open_by_walk], ids=["openat2", "walk"])
def opener(request: pytest.FixtureRequest) -> Opener:
    way: Opener = request.param
    return way


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a tree with links of every kind, and a secret beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_bytes(b"file")
    (root / "a" / "inner").write_bytes(b"inner")
    (root / "a" / "b" / "deep").write_bytes(b"deep")
    absolute = {"absolute": f"{root}/file", "absolute-dir": f"{root}/a"}
    for name, target in (LINKS | absolute).items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    _make_socket(root / "socket")
    return root


@pytest.fixture
def directory(root: Path) -> Iterator[int]:
    with _opened_directory(root) as descriptor:
        yield descriptor


@pytest.mark.parametrize("path", FOUND)
def test_path_that_stays_inside_is_opened(
    opener: Opener, directory: int, path: str
) -> None:
    """Relative links and dot-dots that stay below the root lead to the file."""
    assert _read(opener, directory, path.encode()) == FOUND[path]


@pytest.mark.parametrize("path", REFUSED)
def test_path_is_refused_as_openat2_would(
    opener: Opener, directory: int, path: str
) -> None:
    """What leads out, nowhere or round in circles has its own errno."""
    result = _result(opener, directory, path.encode(), OPEN_FLAGS)
    assert result == errno.errorcode[REFUSED[path]]


@pytest.mark.parametrize("path", ["a", "a/", "to-dir", "to-dir/", "dot", ".", "a/.."])
def test_directory_is_opened(opener: Opener, directory: int, path: str) -> None:
    """A directory opens as such: by name, by link, with a slash, by dots."""
    with _opened(opener, directory, path.encode()) as descriptor:
        assert stat.S_ISDIR(os.fstat(descriptor).st_mode)


@pytest.mark.timeout(10)
def test_fifo_does_not_wait_for_a_writer(opener: Opener, directory: int) -> None:
    """Opening a FIFO that nobody writes to returns at once."""
    with _opened(opener, directory, b"fifo") as descriptor:
        assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize("path", ["file", "to-file", "socket", "a", "to-dir", "fifo"])
def test_looking_follows_links(opener: Opener, directory: int, path: str) -> None:
    """With O_PATH too, a link stands for what it leads to, a socket included."""
    with _opened(opener, directory, path.encode(), LOOK_FLAGS) as descriptor:
        assert not stat.S_ISLNK(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"two\nlines", b" ", b"...", b"\x01", b"n" * 255]
)
def test_name_may_be_any_bytes(
    opener: Opener, root: Path, directory: int, name: bytes
) -> None:
    """A name that is no text, or as long as a name may be, is found."""
    path = os.path.join(os.fsencode(root), name)
    with open(path, "wb") as file:
        file.write(b"found")
    os.symlink(name, os.path.join(os.fsencode(root), b"link"))
    assert _read(opener, directory, name) == b"found"
    assert _read(opener, directory, b"link") == b"found"


def test_forty_links_are_followed_and_no_more(
    opener: Opener, root: Path, directory: int
) -> None:
    """As path_resolution(7) allows: the 41st link of one path is ELOOP."""
    (root / "link0").symlink_to("file")
    for number in range(1, 41):
        (root / f"link{number}").symlink_to(f"link{number - 1}")
    assert _read(opener, directory, b"link39") == b"file"
    assert _result(opener, directory, b"link40", OPEN_FLAGS) == "ELOOP"


def test_no_descriptor_is_left_behind(opener: Opener, directory: int) -> None:
    """Whatever a path leads to, the result is the only new descriptor."""
    before = os.listdir("/proc/self/fd")
    for path in (*FOUND, *REFUSED):
        try:
            os.close(opener(directory, path.encode(), OPEN_FLAGS))
        except OSError:
            continue
    assert os.listdir("/proc/self/fd") == before


def test_descriptor_is_not_inherited_by_programs(
    opener: Opener, directory: int
) -> None:
    """What is opened closes on exec."""
    with _opened(opener, directory, b"to-file") as descriptor:
        assert not os.get_inheritable(descriptor)


@pytest.mark.parametrize(
    ("path", "flags", "is_allowed"),
    [
        ("unreadable", OPEN_FLAGS, False),
        ("unreadable", LOOK_FLAGS, True),
        ("to-unreadable", OPEN_FLAGS, False),
        ("searchable", OPEN_FLAGS, False),
        ("searchable", LOOK_FLAGS, True),
        ("searchable/file", OPEN_FLAGS, True),
        ("closed", LOOK_FLAGS, True),
        ("closed/file", OPEN_FLAGS, False),
        ("closed/file", LOOK_FLAGS, False),
        ("closed/missing", OPEN_FLAGS, False),
        ("through-closed", OPEN_FLAGS, False),
    ],
)
def test_permissions_are_the_kernels(
    opener: Opener, root: Path, path: str, flags: int, is_allowed: bool
) -> None:
    """Reading needs the file's permission, passing needs that to search."""
    _make_forbidden(root)
    with _opened_directory(root) as directory, _without_privilege():
        result = _result(opener, directory, path.encode(), flags)
    (root / "closed").chmod(0o700)
    assert isinstance(result, tuple) if is_allowed else result == "EACCES"


def test_cached_opening_waits_for_no_disk(root: Path, directory: int) -> None:
    """A name that was never looked up is declined, and known afterwards."""
    if choose_openers(directory)[1] is None:
        give_up("this kernel has no cached lookups")
    with pytest.raises(BlockingIOError):
        open_beneath_cached(directory, b"never-looked-up", OPEN_FLAGS)
    with pytest.raises(FileNotFoundError):
        open_beneath(directory, b"never-looked-up", OPEN_FLAGS)
    os.listdir(root)
    for link in LINKS:
        _date_access_ahead(root / link)
    for path, content in FOUND.items():
        assert _read(open_beneath, directory, path.encode()) == content
        assert _read(open_beneath_cached, directory, path.encode()) == content


_NAMES = st.sampled_from(["a", "b", "c"])
_STEPS = st.sampled_from(["a", "b", "c", "..", ".", ""])
_PATHS = st.builds(
    lambda first, rest: "/".join((first, *rest)),
    st.sampled_from(["a", "b", "c", "..", "."]),
    st.lists(_STEPS, max_size=4),
)
_TARGETS = st.one_of(_PATHS, _PATHS.map(lambda path: f"/{path}"))
_ENTRIES = st.lists(
    st.tuples(
        st.lists(_NAMES, min_size=1, max_size=3).map("/".join),
        st.one_of(st.sampled_from([None, b"content"]), _TARGETS),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(_ENTRIES, st.lists(_PATHS, min_size=1, max_size=8))
def test_both_ways_agree(
    entries: list[tuple[str, bytes | str | None]], paths: list[str]
) -> None:
    """In any tree, both ways lead to the same file or the same errno."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "x", "y", "root")
        root.mkdir(parents=True)
        for name, content in entries:
            _make_entry(root, name, content)
        descriptor = os.open(root, os.O_PATH)
        try:
            for path in paths:
                for flags in (OPEN_FLAGS, LOOK_FLAGS):
                    by_kernel = _result(open_beneath, descriptor, path.encode(), flags)
                    by_walk = _result(open_by_walk, descriptor, path.encode(), flags)
                    assert by_walk == by_kernel, path
        finally:
            os.close(descriptor)


def _make_entry(root: Path, name: str, content: bytes | str | None) -> None:
    """Make a directory (None), a file or a link, where there is room for it."""
    place = root
    for part in name.split("/")[:-1]:
        place /= part
        if place.is_symlink() or place.is_file():
            return
        place.mkdir(exist_ok=True)
    place = root / name
    if os.path.lexists(place):
        return
    if content is None:
        place.mkdir()
    elif isinstance(content, bytes):
        place.write_bytes(content)
    else:
        place.symlink_to(content)


def _date_access_ahead(link: Path) -> None:
    """Have no access to *link* noted, since a cached lookup may not note it.

    A link that is followed within the clock tick it was made in is due again
    (relatime, mount(8)).
    """
    status = link.lstat()
    ahead = status.st_ctime_ns + 60 * 10**9
    os.utime(link, ns=(ahead, status.st_mtime_ns), follow_symlinks=False)


def _make_forbidden(root: Path) -> None:
    for name in ("searchable", "closed"):
        (root / name).mkdir()
        (root / name / "file").write_bytes(b"x")
    (root / "unreadable").write_bytes(b"x")
    (root / "to-unreadable").symlink_to("unreadable")
    (root / "through-closed").symlink_to("closed/file")
    (root / "unreadable").chmod(0)
    (root / "closed").chmod(0)
    (root / "searchable").chmod(0o111)
    root.chmod(0o755)


def _make_socket(path: Path) -> None:
    # By a descriptor, since a socket's own path is limited to 107 bytes.
    with _opened_directory(path.parent) as parent, socket.socket(socket.AF_UNIX) as it:
        it.bind(f"/proc/self/fd/{parent}/{path.name}")


@contextmanager
def _opened_directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def _opened(
    opener: Opener, directory: int, path: bytes, flags: int = OPEN_FLAGS
) -> Iterator[int]:
    descriptor = opener(directory, path, flags)
    yield descriptor
    os.close(descriptor)


def _read(opener: Opener, directory: int, path: bytes) -> bytes:
    with _opened(opener, directory, path) as descriptor:
        return os.read(descriptor, 100)


def _result(opener: Opener, directory: int, path: bytes, flags: int) -> object:
    """Return the inode that *path* leads to, or the name of the error."""
    try:
        with _opened(opener, directory, path, flags) as descriptor:
            state = os.fstat(descriptor)
            return state.st_dev, state.st_ino
    except OSError as refusal:
        return errno.errorcode[refusal.errno or 0]


@contextmanager
def _without_privilege() -> Iterator[None]:
    """Be nobody for a while: to root, no permission bit says no."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)

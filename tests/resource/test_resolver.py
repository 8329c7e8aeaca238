"""Request targets on real files: what each leads to, by both ways of opening."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sendfile_server.resource.containment import (
    Opener,
    choose_openers,
    open_beneath,
    open_by_walk,
)
from sendfile_server.resource.files import (
    Evidence,
    OpenFile,
    identity_of,
    read,
)
from sendfile_server.resource.resolver import Found, Outcome, Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.representations import Redirect, Refusal
from tools import give_up

NOBODY = 65534

FOUND = {
    b"/": b"index",
    b"/?query": b"index",
    b"/.": b"index",
    b"/dir/..": b"index",
    b"/index.html": b"index",
    b"/file.txt": b"file",
    b"/file.txt?query=/../x": b"file",
    b"/%66ile.txt": b"file",
    b"//dir///./index.html": b"dir index",
    b"/dir/": b"dir index",
    b"/dir/../file.txt": b"file",
    b"/missing/../file.txt": b"file",
    b"/link": b"file",
    b"/dir-link/": b"dir index",
    b"/index-link/": b"file",
    b"/.well-known/token": b"token",
    b"/empty": b"",
    b"/%FF%FE": b"bytes",
    b"/two%0Alines": b"lines",
    b"/name%20with%20%25": b"percent",
    b"/" + b"n" * 255: b"long",
    b"http://localhost/file.txt": b"file",
}

REDIRECTED = {
    b"/dir": b"/dir/",
    b"/dir?a=b&c": b"/dir/?a=b&c",
    b"//dir": b"/dir/",
    b"/dir-link": b"/dir-link/",
    b"/empty-dir": b"/empty-dir/",
    b"/d%C3%A4r": b"/d%C3%A4r/",
}

REFUSED = {
    b"/missing": 404,
    b"/missing/": 404,
    b"/missing/file": 404,
    b"/empty-dir/": 404,
    b"/file.txt/": 404,
    b"/file.txt/x": 404,
    b"/link/": 404,
    b"/odd-dir/": 404,
    b"/../file.txt": 404,
    b"/..": 404,
    b"/%2e%2e/secret": 404,
    b"/dir/..%2f..%2fsecret": 404,
    b"/dir%5c..%5cfile.txt": 404,
    b"/out": 404,
    b"/out-dir/secret": 404,
    b"/absolute": 404,
    b"/loop": 404,
    b"/dangling": 404,
    b"/fifo": 404,
    b"/fifo/": 404,
    b"/fifo-dir/": 404,
    b"/socket": 404,
    b"/.hidden": 404,
    b"/%2ehidden": 404,
    b"/.git/config": 404,
    b"/dir/.hidden": 404,
    b"/.well-known/.hidden": 404,
    b"/dir/.well-known/token": 404,
    b"/" + b"n" * 256: 404,
    b"/" + b"x/" * 2500: 404,
    b"/file.txt%00": 400,
    b"/%zz": 400,
    b"*": 400,
    b"file.txt": 400,
}


@pytest.fixture(params=[open_beneath, open_by_walk], ids=["openat2", "walk"])
def opener(request: pytest.FixtureRequest) -> Opener:
    way: Opener = request.param
    return way


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make one of each thing that a target may lead to."""
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    folders = (".git", ".well-known", "dir/.well-known", "empty-dir", "där")
    for name in (*folders, "odd-dir/index.html", "fifo-dir", "index-link"):
        (root / name).mkdir(parents=True)
    files = {
        b"index.html": b"index",
        b"file.txt": b"file",
        b"dir/index.html": b"dir index",
        b".well-known/token": b"token",
        b".well-known/.hidden": b"hidden",
        b"dir/.well-known/token": b"hidden",
        b".hidden": b"hidden",
        b"dir/.hidden": b"hidden",
        b".git/config": b"hidden",
        b"empty": b"",
        b"\xff\xfe": b"bytes",
        b"two\nlines": b"lines",
        b"name with %": b"percent",
        b"n" * 255: b"long",
    }
    for path, content in files.items():
        with open(os.path.join(os.fsencode(root), path), "wb") as file:
            file.write(content)
    links = {
        "link": "file.txt",
        "dir-link": "dir",
        "index-link/index.html": "../file.txt",
        "out": "../secret",
        "out-dir": "..",
        "absolute": f"{root}/file.txt",
        "loop": "loop",
        "dangling": "missing",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    os.mkfifo(root / "fifo-dir" / "index.html")
    _make_socket(root / "socket")
    return root


@pytest.fixture
def resolver(tree: Path, opener: Opener) -> Resolver:
    return _resolver(tree, opener)


@pytest.mark.parametrize("target", FOUND)
def test_file_is_found(resolver: Resolver, target: bytes) -> None:
    """A file by its name, its directory, its links, its escapes."""
    assert _content(resolver.resolve(target, 0).outcome) == FOUND[target]


@pytest.mark.parametrize("target", REDIRECTED)
def test_directory_without_its_slash_is_redirected(
    resolver: Resolver, target: bytes
) -> None:
    """The location has the slash, and keeps the query."""
    assert resolver.resolve(target, 0).outcome == Redirect(REDIRECTED[target])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("target", REFUSED)
def test_target_is_refused(resolver: Resolver, target: bytes) -> None:
    """Whatever is no regular file below the root, or hidden, is not there."""
    assert resolver.resolve(target, 0).outcome == Refusal(REFUSED[target])


def test_base_path_comes_before_all_targets(tree: Path, opener: Opener) -> None:
    """Below it everything is as it would be at the top, and nothing is beside it."""
    root = Root(str(tree), 1, opener)
    resolver = Resolver(root, b"index.html", {}, (b"dir", b"t"))

    def resolve(target: bytes) -> Outcome:
        return resolver.resolve(target, 0).outcome

    for target, content in FOUND.items():
        if target.startswith(b"/"):
            assert _content(resolve(b"/dir/t" + target)) == content
            assert resolve(target) == Refusal(404)
    for target, location in REDIRECTED.items():
        assert resolve(b"/dir/t" + target) == Redirect(b"/dir/t" + location)
        assert resolve(target) == Refusal(404)
    for target, status in REFUSED.items():
        if target.startswith(b"/"):
            assert resolve(b"/dir/t" + target) == Refusal(status)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/s/t", b"/s/t/"),
        (b"/s/t?a=b/../c", b"/s/t/?a=b/../c"),
        (b"//s/./%74", b"/s/t/"),
        (b"http://x/s/t", b"/s/t/"),
    ],
)
def test_base_path_without_its_slash_is_redirected(
    tree: Path, opener: Opener, target: bytes, location: bytes
) -> None:
    """To the root with its slash; which may be remembered as any other directory."""
    resolver = Resolver(Root(str(tree), 1, opener), b"index.html", {}, (b"s", b"t"))
    now = int(time.time()) + 10

    found = resolver.resolve(target, now)

    assert found.outcome == Redirect(location)
    assert found.evidence
    assert resolver.still_holds(found.evidence, now, now)


def test_device_is_refused(opener: Opener) -> None:
    """A device is opened by nobody, however harmless."""
    assert _resolver(Path("/dev"), opener).resolve(b"/null", 0).outcome == Refusal(404)


def test_file_is_described(resolver: Resolver, tree: Path) -> None:
    """Size, time, type and identity are those of the file itself."""
    os.utime(tree / "file.txt", ns=(0, 1_700_000_000_123_456_789))
    state = os.stat(tree / "file.txt")
    found = resolver.resolve(b"/link", 0).outcome
    assert isinstance(found, OpenFile)
    assert found.evidence == Evidence(b"link", identity_of(state))
    assert found.representation.size == 4
    assert found.representation.mtime_ns == 1_700_000_000_123_456_789
    assert not found.is_remote


def test_type_is_of_the_name_that_was_asked_for(tree: Path, opener: Opener) -> None:
    """Of the link's own name or that of the index, whatever it leads to."""
    media_types = {b"txt": b"text/x-own", b"html": b"text/html"}
    resolver = Resolver(Root(str(tree), 1, opener), b"index.html", media_types)
    types = {
        target: found.representation.media_type
        for target in (b"/file.txt", b"/link", b"/", b"/index-link/")
        if isinstance(found := resolver.resolve(target, 0).outcome, OpenFile)
    }
    assert types[b"/file.txt"] == b"text/x-own"
    assert types[b"/link"] == b"application/octet-stream"
    assert types[b"/"] == b"text/html"
    assert types[b"/index-link/"] == b"text/html"


def test_index_may_have_another_name(tree: Path, opener: Opener) -> None:
    """The index is the file that the operator named, and no other."""
    resolver = Resolver(Root(str(tree), 1, opener), b"file.txt", {})
    assert _content(resolver.resolve(b"/", 0).outcome) == b"file"
    assert resolver.resolve(b"/dir/", 0).outcome == Refusal(404)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/unreadable", Refusal(403)),
        (b"/to-unreadable", Refusal(403)),
        (b"/searchable", Redirect(b"/searchable/")),
        (b"/searchable?q", Redirect(b"/searchable/?q")),
        (b"/searchable/missing", Refusal(404)),
        (b"/closed", Redirect(b"/closed/")),
        (b"/closed/", Refusal(403)),
        (b"/closed/file", Refusal(403)),
        (b"/closed/file/x", Refusal(403)),
    ],
)
def test_missing_permission_is_forbidden(
    resolver: Resolver, tree: Path, target: bytes, expected: Outcome
) -> None:
    """What we may not read is 403, yet a directory still gets its slash."""
    _make_forbidden(tree)
    with _without_privilege():
        outcome = resolver.resolve(target, 0).outcome
    (tree / "closed").chmod(0o700)
    assert outcome == expected


@pytest.mark.parametrize("target", [b"/searchable/", b"/searchable/index.html"])
def test_searchable_directory_is_served(
    resolver: Resolver, tree: Path, target: bytes
) -> None:
    """Files of a directory that can't be listed are found by their names."""
    _make_forbidden(tree)
    with _without_privilege():
        assert _content(resolver.resolve(target, 0).outcome) == b"inside"


def test_removed_file_is_gone(resolver: Resolver, tree: Path) -> None:
    """The next request after a removal finds nothing."""
    assert _content(resolver.resolve(b"/file.txt", 0).outcome) == b"file"
    (tree / "file.txt").unlink()
    assert resolver.resolve(b"/file.txt", 0).outcome == Refusal(404)
    assert resolver.resolve(b"/link", 0).outcome == Refusal(404)


def test_removed_file_is_held_open(resolver: Resolver, tree: Path) -> None:
    """What was found before a removal can still be sent."""
    found = resolver.resolve(b"/file.txt", 0).outcome
    (tree / "file.txt").unlink()
    assert _content(found) == b"file"


def test_new_file_is_found(resolver: Resolver, tree: Path) -> None:
    """The next request after a file is made, or replaced, has its content."""
    assert resolver.resolve(b"/new", 0).outcome == Refusal(404)
    (tree / "new").write_bytes(b"one")
    assert _content(resolver.resolve(b"/new", 0).outcome) == b"one"
    (tree / "newer").write_bytes(b"another")
    (tree / "newer").rename(tree / "new")
    assert _content(resolver.resolve(b"/new", 0).outcome) == b"another"


def test_swapped_root_is_followed(tmp_path: Path, tree: Path, opener: Opener) -> None:
    """Resolving renews the root once that is due."""
    link = tmp_path / "current"
    link.symlink_to("root")
    resolver = _resolver(link, opener, freshness=2)
    assert _content(resolver.resolve(b"/file.txt", 10).outcome) == b"file"
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "file.txt").write_bytes(b"next")
    link.unlink()
    link.symlink_to("next")
    assert _content(resolver.resolve(b"/file.txt", 11).outcome) == b"file"
    assert _content(resolver.resolve(b"/file.txt", 12).outcome) == b"next"
    assert tree.exists()


def test_trying_declines_where_names_are_not_cached(resolver: Resolver) -> None:
    """Without cached lookups, trying leaves every file to the pool."""
    assert resolver.try_resolve(b"/file.txt", 0) is None
    assert resolver.try_resolve(b"/missing", 0) is None


@pytest.mark.parametrize("target", [b"/.hidden", b"/%zz", b"/../x"])
def test_trying_answers_what_needs_no_disk(resolver: Resolver, target: bytes) -> None:
    """What the target alone decides is answered at once."""
    assert resolver.try_resolve(target, 0) == resolver.resolve(target, 0)


@pytest.mark.parametrize("target", [*FOUND, *REDIRECTED, *REFUSED])
def test_trying_agrees_with_resolving(tree: Path, target: bytes) -> None:
    """An answer without waiting, if any, is what waiting would have given."""
    resolver = Resolver(Root(str(tree), 1), b"index.html", {})
    resolved, tried = resolver.resolve(target, 0), resolver.try_resolve(target, 0)
    assert tried is None or _comparable(tried) == _comparable(resolved)


def test_trying_finds_what_was_found_before(tree: Path) -> None:
    """Where the kernel has cached lookups, a known file takes no job."""
    descriptor = os.open(tree, os.O_RDONLY)
    has_cached_lookups = choose_openers(descriptor)[1] is not None
    os.close(descriptor)
    if not has_cached_lookups:
        give_up("this kernel has no cached lookups")
    resolver = Resolver(Root(str(tree), 1), b"index.html", {})
    resolver.resolve(b"/file.txt", 0)
    tried = resolver.try_resolve(b"/file.txt", 0)
    assert tried is not None
    assert _content(tried.outcome) == b"file"


def test_trying_declines_what_was_never_looked_up(tree: Path) -> None:
    """A name that the kernel has not cached might need the disk."""
    resolver = Resolver(Root(str(tree), 1), b"index.html", {})
    assert resolver.try_resolve(b"/never-looked-up", 0) is None
    assert resolver.resolve(b"/never-looked-up", 0).outcome == Refusal(404)


# What was found, and is looked at again.

LONG = 10  # seconds, in which everything settles
HOUR = 3600


def _now() -> int:
    return int(time.time()) + LONG


MISSING = (b"/missing", b"/missing/file", b"/empty-dir/", b"/file.txt/x", b"/dangling")


@pytest.mark.parametrize("target", [*FOUND, *REDIRECTED, *MISSING])
def test_what_was_found_holds_while_nothing_changes(
    resolver: Resolver, target: bytes
) -> None:
    """A file, a redirect or nothing is found again by one look, however late."""
    now = _now()
    evidence = resolver.resolve(target, now).evidence
    assert evidence
    assert resolver.still_holds(evidence, now, now)
    assert resolver.still_holds(evidence, now, now + LONG)


def test_name_that_rested_for_long_is_looked_at_without_waiting(tree: Path) -> None:
    """The kernel may have forgotten it; then nobody knows until a thread has looked."""
    resolver, now = Resolver(Root(str(tree), 1), b"index.html", {}), _now()
    if not resolver.try_resolve(b"/", now):
        give_up("this kernel has no cached lookups")
    evidence = Evidence(b"never-looked-up", None)
    assert not resolver.still_holds(evidence, now, now + HOUR)
    assert resolver.still_holds(evidence, now, now)
    if resolver.try_resolve(b"/never-looked-up", now):  # tmpfs remembers none
        assert resolver.still_holds(evidence, now, now + HOUR)
    (tree / "never-looked-up").touch()
    assert not resolver.still_holds(evidence, now, now + HOUR)


@pytest.mark.parametrize("target", [b"/file.txt", b"/dir", b"/"])
def test_what_rested_for_long_holds_while_nothing_changes(
    tree: Path, target: bytes
) -> None:
    """As long as the kernel has its name in memory."""
    resolver, now = Resolver(Root(str(tree), 1), b"index.html", {}), _now()
    if not resolver.try_resolve(b"/", now):
        give_up("this kernel has no cached lookups")
    evidence = resolver.resolve(target, now).evidence
    assert evidence
    assert resolver.still_holds(evidence, now, now + HOUR)
    for name in ("file.txt", "dir", "index.html"):
        (tree / name).rename(tree / f"old-{name}")
        (tree / name).mkdir()
    assert not resolver.still_holds(evidence, now, now + HOUR)


@pytest.mark.parametrize("target", [b"/file.txt", b"/link", b"/missing", b"/dir"])
def test_changed_file_holds_no_longer(
    resolver: Resolver, tree: Path, target: bytes
) -> None:
    """A look at the path sees its replacement, and what appeared where nothing was."""
    now = _now()
    evidence = resolver.resolve(target, now).evidence
    assert evidence
    for name in ("file.txt", "missing", "dir"):
        (tree / "new").mkdir()
        if (tree / name).exists():
            (tree / name).rename(tree / f"old-{name}")
        (tree / "new").rename(tree / name)
    assert not resolver.still_holds(evidence, now, now)
    assert not resolver.still_holds(evidence, now, now + LONG)


@pytest.mark.parametrize(
    ("seconds", "is_trusted"), [(-1, False), (0, False), (1, False), (3, True)]
)
def test_file_that_had_just_changed_never_holds(
    resolver: Resolver, tree: Path, seconds: int, is_trusted: bool
) -> None:
    """It may have changed again with the same timestamp, however late one looks."""
    since = int(os.stat(tree / "file.txt").st_ctime) + seconds
    evidence = resolver.resolve(b"/file.txt", since).evidence
    assert evidence
    for now in (since, since + 2, since + LONG):
        assert resolver.still_holds(evidence, since, now) is is_trusted


@pytest.mark.parametrize("target", [b"/dir/index.html", b"/dir"])
def test_file_that_left_the_root_holds_no_longer(
    resolver: Resolver, tree: Path, tmp_path: Path, target: bytes
) -> None:
    """Though it is the same, and a link leads to it from where it was."""
    now = _now()
    evidence = resolver.resolve(target, now).evidence
    assert evidence
    assert resolver.still_holds(evidence, now, now)
    (tree / "dir").rename(tmp_path / "outside")
    (tree / "dir").symlink_to(tmp_path / "outside")
    assert (tree / "dir").samefile(tmp_path / "outside")
    assert not resolver.still_holds(evidence, now, now)
    assert not resolver.still_holds(evidence, now, now + LONG)


def test_directory_that_may_not_be_searched_holds_nothing(
    resolver: Resolver, tree: Path
) -> None:
    """What can't be looked at is found anew, or not."""
    now = _now()
    tree.chmod(0o755)
    evidence = resolver.resolve(b"/dir/index.html", now).evidence
    assert evidence
    (tree / "dir").chmod(0)
    with _without_privilege():
        holds = resolver.still_holds(evidence, now, now)
    (tree / "dir").chmod(0o700)
    assert not holds


def test_nothing_holds_in_a_root_that_was_swapped(
    tmp_path: Path, tree: Path, opener: Opener
) -> None:
    """The look is from the root as it is now."""
    link = tmp_path / "current"
    link.symlink_to("root")
    resolver, now = _resolver(link, opener), _now()
    evidence = resolver.resolve(b"/file.txt", now).evidence
    assert evidence
    (tmp_path / "next").mkdir()
    link.unlink()
    link.symlink_to("next")
    assert resolver.still_holds(evidence, now, now)
    assert not resolver.still_holds(evidence, now, now + 1)
    assert tree.exists()


def _resolver(root: Path, opener: Opener, freshness: int = 1) -> Resolver:
    return Resolver(Root(str(root), freshness, opener), b"index.html", {})


def _content(outcome: Outcome | None) -> bytes:
    assert isinstance(outcome, OpenFile), outcome
    content = read(outcome, 0, 1000)
    assert outcome.representation.size == len(content)
    return content


def _comparable(found: Found) -> object:
    if isinstance(found.outcome, OpenFile):
        return found.evidence, found.outcome.representation
    return found


def _make_forbidden(tree: Path) -> None:
    for name in ("searchable", "closed"):
        (tree / name).mkdir()
        (tree / name / "index.html").write_bytes(b"inside")
        (tree / name / "file").write_bytes(b"inside")
    (tree / "unreadable").write_bytes(b"x")
    (tree / "to-unreadable").symlink_to("unreadable")
    (tree / "unreadable").chmod(0)
    (tree / "closed").chmod(0)
    (tree / "searchable").chmod(0o111)
    tree.chmod(0o755)


def _make_socket(path: Path) -> None:
    # By a descriptor, since a socket's own path is limited to 107 bytes.
    parent = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as unbound:
        unbound.bind(f"/proc/self/fd/{parent}/{path.name}")
    os.close(parent)


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

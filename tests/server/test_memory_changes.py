"""Memory and files that change: looked at each time, and at the default.

Without freshness, a server that remembers agrees with one that does not after any
change. With it, an old answer is of the second of the change at latest; and never
is a head of one version and the body of another.
"""

import hashlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from running import Serve, clock_ahead, wait_until
from sendfile_server.resource.files import Identity, identity_of
from sendfile_server.semantics.dates import parse_http_date
from sendfile_server.semantics.etags import (
    derive_entity_tag,
    hash_content,
    tag_content,
)
from wire import Client, Response, get

MTIME = 1_700_000_000  # long ago
ASKED = ("small", "big", "dir", "link")
# What a name may come to lead to; the last four are not served.
PLACES = ("v0", "v1", "settled-dir", "small", "missing", "big/", "link", "../../secret")


class Step(NamedTuple):
    """One change."""

    change: Callable[[Path, int], None]
    name: str
    choice: int


def content_of(path: Path, version: int) -> bytes:
    """Return as many bytes as befit the name; every other version has the same."""
    size = 100_000 if path.name in ("big", "v1") else 10
    return hashlib.shake_128(b"%d" % version).digest(size + version % 2)


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def date(path: Path, version: int) -> None:
    """Give *path* a time of long ago, that another version may have as well."""
    os.utime(path, (MTIME + version % 3,) * 2)


def replace(path: Path, version: int) -> None:
    new = path.with_name("new")
    new.write_bytes(content_of(path, version))
    date(new, version)
    if path.is_dir():
        clear(path)
    new.rename(path)


def rewrite(path: Path, version: int) -> None:
    """Change the content in place."""
    if not path.is_file():
        clear(path)
    path.write_bytes(content_of(path, version))
    date(path, version)


def overwrite(path: Path, version: int) -> None:
    """Change the last byte in place, and nothing that stat(2) tells but the ctime."""
    if path.is_file() and (state := os.stat(path)).st_size:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"%c" % (version % 256))
        os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))


def truncate(path: Path, version: int) -> None:
    if path.is_file():
        os.truncate(path, version % 9)
        date(path, version)


def touch(path: Path, version: int) -> None:
    if path.exists():
        date(path, version)


def remove(path: Path, _: int) -> None:
    clear(path)


def make_folder(path: Path, version: int) -> None:
    clear(path)
    path.mkdir()
    replace(path / "index.html", version)


def link(path: Path, choice: int) -> None:
    """Make a symbolic link, by a rename if it replaces what can be replaced."""
    new = path.with_name("new")
    new.symlink_to(PLACES[choice % len(PLACES)])
    if path.is_dir() and not path.is_symlink():
        clear(path)
    new.rename(path)


def link_hard(path: Path, choice: int) -> None:
    clear(path)
    os.link(path.with_name(f"v{choice % 2}"), path)


CHANGES = (
    *(replace, rewrite, overwrite, truncate, touch, remove),
    *(make_folder, link, link, link, link_hard),
)
STEPS = st.lists(
    st.builds(
        Step, st.sampled_from(CHANGES), st.sampled_from(ASKED), st.integers(0, 99)
    ),
    min_size=1,
    max_size=6,
)


def make_site(folder: Path) -> None:
    """Make what is there before the first change."""
    folder.mkdir()
    for version, name in enumerate(("small", "big", "v0", "v1")):
        replace(folder / name, version)
    for version, name in enumerate(("dir", "settled-dir")):
        make_folder(folder / name, version)
    link(folder / "link", 0)


def questions(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield methods and heads about what is in *folder*."""
    top = f"/{folder.name}"
    for name in ASKED:
        yield "GET", get(f"{top}/{name}")
        yield "GET", get(f"{top}/{name}/")
        yield "GET", get(f"{top}/{name}", "Cookie: a", "Range: bytes=3-80000")
        yield "GET", get(f"{top}/{name}", "Range: bytes=-5")
        yield "HEAD", get(f"{top}/{name}", method="HEAD")
        tags = [
            *(
                derive_entity_tag(mtime * 10**9, size)
                for mtime, size in itertools.product((MTIME, MTIME + 1), (10, 100_000))
            ),
            *(
                tag_content(hash_content(content_of(folder / name, version)))
                for version in range(4)
            ),
        ]
        for tag in tags:
            condition = f"If-None-Match: {tag.opaque.decode()}"
            yield "GET", get(f"{top}/{name}", condition)


def undated(response: Response) -> Response:
    response.fields.pop("date")
    return response


def make_distinct(path: Path, seen: set[Identity]) -> None:
    """See to it that *path* is in a state that it has not been in before.

    Where the clock for timestamps is coarse, this takes a moment.
    """
    while path.is_file() and (identity := identity_of(os.stat(path))) in seen:
        os.utime(path, ns=(identity[3], identity[3]))
    if path.is_file():
        seen.add(identity_of(os.stat(path)))


@pytest.mark.parametrize("is_ahead", [True, False], ids=["settled", "changed just now"])
@pytest.mark.parametrize("etag", ["state", "content"])
def test_every_change_is_seen_at_once_without_freshness(
    serve: Serve, tmp_path: Path, is_ahead: bool, etag: str
) -> None:
    """After each change, a server that remembers says what one that does not says."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    prefix = clock_ahead(tmp_path) if is_ahead else ()
    options = ("--workers", "1", "--freshness", "0", "--etag", etag)
    ports = [
        serve(root, *options, *more, prefix=prefix).port
        for more in ((), ("--no-memory",))
    ]
    numbers = itertools.count()

    @given(STEPS)
    @settings(max_examples=25 if is_ahead else 10, deadline=None)
    def agree(steps: list[Step]) -> None:
        folder = root / str(next(numbers))
        make_site(folder)
        seen: set[Identity] = set()
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(port)) for port in ports]
            for change, name, choice in [Step(touch, "v0", 0), *steps]:
                change(folder / name, choice)
                if is_ahead:
                    make_distinct(folder / name, seen)
                for method, head in [*questions(folder)] * 2:
                    for client in clients:
                        client.send(head)
                    one, other = (undated(each.response(method)) for each in clients)
                    assert one == other
        shutil.rmtree(folder)

    agree()


# At the default freshness.

LENGTHS = {"small": 100, "big": 100_000}


def publish(path: Path, version: int, *, in_place: bool) -> None:
    """Let *path* be of *version*, as its time and each of its lines tell."""
    new = path if in_place else path.with_name(f"{path.name}.new")
    with new.open("r+b" if in_place else "wb") as file:
        file.write(b"%09d\n" % version * (LENGTHS[path.name] // 10))
    os.utime(new, (MTIME + version, MTIME + version))
    if not in_place:
        new.rename(path)


def version_of(response: Response) -> int:
    """Return the version of a response, all of which is of one."""
    modified = parse_http_date(response.fields["last-modified"].encode(), 0)
    assert modified is not None
    version = modified - MTIME
    if response.status != 206:
        size = int(response.fields["content-length"])
        tag = derive_entity_tag(modified * 10**9, size).opaque.decode()
        assert response.fields["etag"] == tag
    assert set(response.body.split()) <= {b"%09d" % version}
    return version


def test_head_and_body_are_of_one_version(serve: Serve, tmp_path: Path) -> None:
    """While files are replaced all the time, whole ones, parts and heads of them.

    It goes on until each was seen in two versions at least, however slow the disk is.
    """
    for name in LENGTHS:
        publish(tmp_path / name, 0, in_place=False)
    server = serve(tmp_path, "--workers", "1", prefix=clock_ahead(tmp_path))
    is_over = threading.Event()

    def keep_publishing() -> None:
        for version in itertools.count(1):
            for name in LENGTHS:
                publish(tmp_path / name, version, in_place=False)
            if is_over.is_set():
                return

    thread = threading.Thread(target=keep_publishing, daemon=True)
    thread.start()
    seen: dict[str, set[int]] = {name: set() for name in LENGTHS}
    try:
        with Client(server.port) as client:
            for turn in itertools.count():
                if turn >= 150 and min(map(len, seen.values())) > 1:
                    break
                for name in LENGTHS:
                    # Fields that no kind has had yet make one that looks anew.
                    tag = f'If-None-Match: "{turn // 2}"'
                    seen[name].add(version_of(client.request(f"/{name}", tag)))
                    part = client.request(f"/{name}", "Range: bytes=10-79999", tag)
                    assert part.status == 206
                    version_of(part)
                    version_of(client.request(f"/{name}", method="HEAD"))
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by a rename"])
@pytest.mark.parametrize("is_ahead", [True, False], ids=["settled", "changed just now"])
def test_old_answer_is_of_the_second_of_the_change(
    serve: Serve, tmp_path: Path, is_ahead: bool, in_place: bool
) -> None:
    """Its Date, at latest; and all of it is old, or all of it is new."""
    for name in LENGTHS:
        publish(tmp_path / name, 0, in_place=False)
    prefix = clock_ahead(tmp_path) if is_ahead else ()
    server = serve(tmp_path, "--workers", "1", prefix=prefix)

    with Client(server.port) as client:

        def is_new(name: str, version: int, changed: int) -> bool:
            response = client.request(f"/{name}")
            if version_of(response) == version:
                return True
            assert version_of(response) == version - 1
            date = parse_http_date(response.fields["date"].encode(), 0)
            assert date is not None
            assert date <= changed + (10 if is_ahead else 0)
            return False

        for version in (1, 2):
            for name in LENGTHS:
                client.request(f"/{name}")
                publish(tmp_path / name, version, in_place=in_place)
                changed = int(time.time())
                wait_until(partial(is_new, name, version, changed), "the new version")


def test_file_is_never_dated_later_than_its_answer(
    serve: Serve, tmp_path: Path
) -> None:
    """RFC 9110 section 8.8.2.1, in every second in which it is remembered."""
    now = int(time.time()) + 10  # as the server sees it
    states = {"now": now, "soon": now + 2, "late": now + 1000}
    for name, state in states.items():
        (tmp_path / name).write_bytes(b"data")
        os.utime(tmp_path / name, (state, state))
    server = serve(tmp_path, "--workers", "1", prefix=clock_ahead(tmp_path))
    dates = set[int]()

    with Client(server.port) as client:

        def has_seen_some() -> bool:
            for name, state in states.items():
                fields = client.request(f"/{name}").fields
                date, modified = (
                    parse_http_date(fields[field].encode(), 0)
                    for field in ("date", "last-modified")
                )
                assert date is not None
                assert modified == min(state, date)
                dates.add(date)
            return len(dates) >= 4

        wait_until(has_seen_some, "four seconds")

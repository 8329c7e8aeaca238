"""Tags of content: what they are of, when there is none, and who agrees on them."""

import asyncio
import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import uvloop

from running import Serve, clock_ahead, opened, wait_until
from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import OpenFile
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.etags import EntityTag
from sendfile_server.semantics.preconditions import Validators
from sendfile_server.semantics.representations import NO_VALIDATORS
from sendfile_server.server.content_tags import ContentTags
from sendfile_server.server.responder import SMALL_BODY
from tools import need
from wire import Client, Response, fetch, get

MTIME = 1_700_000_000
DEADLINE_S = 20.0
CONTENT = hashlib.shake_128(b"content").digest(100_000)


def tag_of(content: bytes) -> str:
    """Return the tag of *content*, as a client that has it all can tell."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


TAG = EntityTag(tag_of(CONTENT).encode())


# Which files are hashed, and what is remembered of it.


@dataclass
class Tagger:
    """The tags of a worker whose clocks stand still unless they are set."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    tags: ContentTags
    root: Path

    def open(self, content: bytes = CONTENT, name: str = "file") -> OpenFile:
        """Open a file that is new."""
        path = self.root / name
        path.write_bytes(content)
        os.utime(path, (MTIME, MTIME))
        resolver = Resolver(Root(str(self.root), 1), b"index.html", {})
        found = resolver.resolve(b"/" + name.encode(), 0).outcome
        assert isinstance(found, OpenFile)
        return found

    def told(self, *files: OpenFile) -> list[EntityTag | None]:
        """Have *files* hashed at once, and return what is told of them, in order."""
        told: list[EntityTag | None] = []
        for file in files:
            self.tags.hash(file, told.append)
        self.wait_for(told, len(files))
        return told

    def wait_for(self, told: list[EntityTag | None], count: int) -> None:
        """Turn the loop until there are *count* of what is told."""
        end = self.loop.time() + DEADLINE_S

        def look() -> None:
            if len(told) < count and self.loop.time() < end:
                self.loop.call_later(0.001, look)
            else:
                self.loop.stop()

        look()
        self.loop.run_forever()
        assert len(told) == count

    def validators(self, file: OpenFile) -> Validators | None:
        """Return what *file* is validated by, or None if it is to be hashed."""
        labelled = self.tags.label(file)
        return labelled.validators if labelled else None


@pytest.fixture
def tagger(tmp_path: Path) -> Iterator[Tagger]:
    loop, standing = uvloop.new_event_loop(), uvloop.new_event_loop()
    clock = Clock(standing, 75.0)
    clock.now += 10
    tags = ContentTags(clock, Pool(loop, "hashing", 2, 8), 4)
    yield Tagger(loop, clock, tags, tmp_path)
    loop.close()
    standing.close()


def test_settled_file_is_hashed_once(tagger: Tagger) -> None:
    """Then its tag is known, and so is its date, which is the file's own."""
    file = tagger.open()

    assert tagger.validators(file) is None
    assert tagger.told(file, file) == [TAG, TAG]
    assert tagger.validators(file) == Validators(TAG, MTIME)
    assert tagger.validators(tagger.open(b"other", "other")) is None


def test_file_of_this_moment_has_no_validators(tagger: Tagger) -> None:
    """Whoever has just changed it may change it again, and no state would tell."""
    tagger.clock.now = int(time.time()) + 1
    file = tagger.open()

    assert tagger.validators(file) == NO_VALIDATORS
    tagger.clock.now += 10
    assert tagger.validators(file) is None


def test_file_of_a_network_has_no_validators(tagger: Tagger) -> None:
    """What is known of its state may be old."""
    file = tagger.open()
    tagger.told(file)

    assert tagger.validators(replace(file, is_remote=True)) == NO_VALIDATORS


def test_file_that_changes_while_it_is_hashed_has_no_tag(tagger: Tagger) -> None:
    """Whatever was read of it; and nothing is remembered."""
    file, told = tagger.open(), list[EntityTag | None]()
    tagger.tags.hash(file, told.append)
    wait_until(lambda: is_moved_on(file, tagger.root / "file"), "another timestamp")
    tagger.wait_for(told, 1)

    assert told == [None]
    assert tagger.validators(file) is None


def is_moved_on(file: OpenFile, path: Path) -> bool:
    """Write the same bytes once more, and tell whether that shows in the ctime."""
    path.write_bytes(CONTENT)
    os.utime(path, (MTIME, MTIME))
    return os.stat(path).st_ctime_ns != file.identity[4]


def test_nobody_waits_too_long_for_a_hash(tagger: Tagger) -> None:
    """It is not to be had in time then, but for those who ask later."""
    content = bytes(128 * 1024 * 1024)  # more than anyone hashes in one turn
    file, told = tagger.open(content), list[EntityTag | None]()

    tagger.tags.hash(file, told.append)
    tagger.clock.elapsed += 5
    tagger.wait_for(told, 1)
    assert told == [None]
    assert tagger.validators(file) is None
    tag = EntityTag(tag_of(content).encode())
    tagger.clock.elapsed -= 5
    assert tagger.told(file, file) == [tag, tag]
    assert tagger.validators(file) == Validators(tag, MTIME)


def test_same_file_in_another_state_is_another(tagger: Tagger) -> None:
    """The tag that is known is of the state that was hashed."""
    file = tagger.open()
    tagger.told(file)
    wait_until(lambda: is_moved_on(file, tagger.root / "file"), "another timestamp")

    changed = tagger.open(CONTENT[::-1])

    assert tagger.validators(changed) is None
    assert tagger.told(changed) == [EntityTag(tag_of(CONTENT[::-1]).encode())]


def test_latest_tags_are_remembered(tagger: Tagger) -> None:
    """As many as the capacity says, which may be none."""
    files = [tagger.open(b"%d" % n, f"file{n}") for n in range(6)]
    tagger.told(*files)
    forgetful = Tagger(
        tagger.loop,
        tagger.clock,
        ContentTags(tagger.clock, Pool(tagger.loop, "hashing", 1, 8), 0),
        tagger.root,
    )

    known = [tagger.validators(file) is not None for file in files]
    assert known.count(True) == 4
    assert forgetful.told(files[0]) == [EntityTag(tag_of(b"0").encode())]
    assert forgetful.validators(files[0]) is None


# What clients see.

FILES = {
    "empty": b"",
    "small": b"small",
    "most": CONTENT[:SMALL_BODY],
    "big": CONTENT,
}
memory = pytest.mark.parametrize("memory", [(), ("--no-memory",)], ids=["on", "off"])


def make_replicas(folder: Path) -> list[Path]:
    """Make two trees of the same files, none of which has the same time in both."""
    trees = [folder / "one", folder / "two"]
    for number, tree in enumerate(trees):
        tree.mkdir()
        for name, content in FILES.items():
            (tree / name).write_bytes(content)
            os.utime(tree / name, (MTIME + number, MTIME + number))
    return trees


@memory
def test_replicas_agree(serve: Serve, tmp_path: Path, memory: tuple[str, ...]) -> None:
    """What one has told, another believes, though their files differ in time."""
    options = ("--workers", "1", "--etag", "content", *memory)
    prefix = clock_ahead(tmp_path)
    ports = [
        serve(tree, *options, prefix=prefix).port for tree in make_replicas(tmp_path)
    ]

    for name, content in [*FILES.items()] * 2:
        for port in ports:
            check_answers(port, name, content)


def check_answers(port: int, name: str, content: bytes) -> None:
    """Ask on every condition for a file of *content*, and check what comes."""
    tag, part = tag_of(content), "Range: bytes=2-70000"
    with Client(port) as client:

        def ask(*fields: str, method: str = "GET") -> tuple[int, bytes]:
            response = client.request(f"/{name}", *fields, method=method)
            told = response.fields.get("etag")
            assert told == (None if response.status in (412, 416) else tag)
            return response.status, response.body

        assert ask() == (200, content)
        assert ask(method="HEAD") == (200, b"")
        assert ask(f"If-None-Match: {tag}") == (304, b"")
        assert ask(f"If-None-Match: W/{tag}") == (304, b"")
        assert ask('If-None-Match: "other"') == (200, content)
        assert ask(f"If-Match: {tag}") == (200, content)
        assert ask('If-Match: "other"')[0] == 412
        if content:
            assert ask(part) == (206, content[2:70001])
            assert ask(part, f"If-Range: {tag}") == (206, content[2:70001])
            assert ask(part, 'If-Range: "other"') == (200, content)
            assert ask("Range: bytes=200000-")[0] == 416


@memory
def test_date_is_that_of_the_replica(
    serve: Serve, tmp_path: Path, memory: tuple[str, ...]
) -> None:
    """It says which copy it is of; the tag, where there is one, goes before it."""
    options = ("--workers", "1", "--etag", "content", *memory)
    prefix = clock_ahead(tmp_path)
    one, two = (
        serve(tree, *options, prefix=prefix).port for tree in make_replicas(tmp_path)
    )

    for name, content in [("small", FILES["small"]), ("big", FILES["big"])] * 2:
        target, tag = f"/{name}", tag_of(content)
        date, later = (
            fetch(port, target).fields["last-modified"] for port in (one, two)
        )
        since, old = f"If-Modified-Since: {date}", 'If-None-Match: "old"'
        assert date < later
        assert fetch(one, target, since).status == 304
        assert fetch(two, target, since).status == 200
        assert fetch(two, target, since, f"If-None-Match: {tag}").status == 304
        assert fetch(one, target, since, old).status == 200
        part = "Range: bytes=1-2"
        assert fetch(one, target, part, f"If-Range: {date}").status == 206
        assert fetch(two, target, part, f"If-Range: {date}").status == 200


def test_what_was_found_before_the_hash_is_looked_at_again_after_it(
    serve: Serve, tmp_path: Path
) -> None:
    """If a second has passed meanwhile, the answer may be of an older file by then."""
    need("strace")
    trees = make_replicas(tmp_path)
    (trees[1] / "big").write_bytes(CONTENT[::-1])
    slow = "inject=preadv,preadv2:delay_enter=1500000:when=1"
    traced = ("strace", "-f", "-o", "/dev/null", "-e", slow)
    options = ("--workers", "1", "--etag", "content")
    server = serve(tmp_path, *options, prefix=(*traced, *clock_ahead(tmp_path)))
    path = os.path.realpath(trees[0] / "big")

    def is_found() -> bool:
        return path in opened(server.worker)

    with Client(server.port) as client:
        ask = partial(client.request, method="HEAD")
        ask("/one/small")  # whose kind of request is remembered
        client.send(get("/one/big", method="HEAD"))
        wait_until(is_found, "the file to be found")
        trees[0].rename(tmp_path / "old")
        trees[1].rename(trees[0])
        assert client.response("HEAD").fields["etag"] == tag_of(CONTENT)
        assert ask("/one/big").fields["etag"] == tag_of(CONTENT[::-1])


def test_time_of_reproducible_builds_matters_to_no_tag(
    serve: Serve, tmp_path: Path
) -> None:
    """Where all files have one time they have no date, and tags of their own."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (0, 0))
    server = serve(tmp_path, "--etag", "content", prefix=clock_ahead(tmp_path))

    for name, content in FILES.items():
        fields = fetch(server.port, f"/{name}").fields
        assert fields["etag"] == tag_of(content)
        assert "last-modified" not in fields


@memory
def test_big_file_that_was_changed_just_now_gets_its_tag_later(
    serve: Serve, tmp_path: Path, memory: tuple[str, ...]
) -> None:
    """Until then nothing validates it; a small one has its tag at once."""
    server = serve(tmp_path, "--workers", "1", "--etag", "content", *memory)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)

    with Client(server.port) as client:
        small, big = client.request("/small"), client.request("/big")
        assert small.fields["etag"] == tag_of(FILES["small"])
        assert not big.fields.keys() & {"etag", "last-modified"}
        assert big.body == CONTENT
        part = client.request("/big", "Range: bytes=5-9")
        assert (part.status, part.body) == (206, CONTENT[5:10])
        assert client.request("/big", 'If-Match: "a"').status == 412

        def is_tagged() -> bool:
            fields = client.request("/big", method="HEAD").fields
            assert ("etag" in fields) == ("last-modified" in fields)
            return fields.get("etag") == tag_of(CONTENT)

        wait_until(is_tagged, "the tag")


LINES = {"small": 10, "big": 30_000}


def content_of(name: str, version: int) -> bytes:
    """Return lines each of which tells the version."""
    return b"%09d\n" % version * LINES[name]


def publish(path: Path, content: bytes, *, in_place: bool) -> None:
    """Let *path* have *content*, at a time that tells it from no other."""
    new = path if in_place else path.with_name(f"{path.name}.new")
    with new.open("r+b" if in_place else "wb") as file:
        file.write(content)
    os.utime(new, (MTIME, MTIME))
    if not in_place:
        new.rename(path)


@pytest.mark.parametrize(
    ("in_place", "is_ahead"),
    [
        pytest.param(True, False, id="in place"),
        pytest.param(False, False, id="by a rename"),
        pytest.param(False, True, id="by a rename, all settled"),
    ],
)
@memory
def test_tag_never_belongs_to_other_bytes(
    serve: Serve,
    tmp_path: Path,
    in_place: bool,
    is_ahead: bool,
    memory: tuple[str, ...],
) -> None:
    """While files change all the time, each body that has a tag has its own."""
    tags: dict[str, set[str]] = {name: set() for name in LINES}
    seen: dict[str, set[str | None]] = {name: set() for name in LINES}
    is_over = threading.Event()

    def publish_all(version: int, *, in_place: bool) -> None:
        for name in LINES:
            content = content_of(name, version)
            tags[name].add(tag_of(content))
            publish(tmp_path / name, content, in_place=in_place)

    def keep_publishing() -> None:
        for version in itertools.count(1):
            publish_all(version, in_place=in_place)
            if is_over.wait(0.002):
                return

    def check(name: str, response: Response) -> str | None:
        tag = response.fields.get("etag")
        if tag and response.status == 200:
            assert tag == tag_of(response.body)
        if tag and not in_place:  # else some of both may have been read
            assert tag in tags[name]
            (line,) = {each for each in response.body.split(b"\n") if len(each) == 9}
            assert tag == tag_of(content_of(name, int(line)))
        seen[name].add(tag)
        return tag

    publish_all(0, in_place=False)
    prefix = clock_ahead(tmp_path) if is_ahead else ()
    options = ("--workers", "1", "--etag", "content", *memory)
    server = serve(tmp_path, *options, prefix=prefix)
    thread = threading.Thread(target=keep_publishing, daemon=True)
    thread.start()
    with Client(server.port) as client:
        try:
            for turn, name in itertools.product(range(100), LINES):
                check(name, client.request(f"/{name}"))
                # What no kind has had yet looks anew.
                new = f'If-None-Match: "{turn}"'
                check(name, client.request(f"/{name}", new))
                check(name, client.request(f"/{name}", "Range: bytes=10-79999", new))
        finally:
            is_over.set()
            thread.join()
        assert len(seen["small"]) > 1
        assert len(seen["big"]) > 1 or not is_ahead
        for name in LINES:
            last = tag_of((tmp_path / name).read_bytes())
            ask = partial(client.request, f"/{name}")
            wait_until(lambda: check(name, ask()) == last, "the last version's tag")  # noqa: B023 - called at once

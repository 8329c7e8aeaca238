"""What system calls a response takes, as strace sees it."""

import os
import re
import select
from contextlib import ExitStack
from pathlib import Path

import pytest

from running import Serve, clock_ahead, wait_until
from sendfile_server.semantics.etags import hash_content, tag_content
from sendfile_server.transport.lending import HUGE_PAGE
from tools import need
from wire import Client, fetch, get

pytestmark = pytest.mark.e2e

PATTERN = b"CONTENT-OF-THE-FILE."
CALLS = (
    "read,pread64,readv,preadv,preadv2,write,writev,pwrite64,"
    "sendto,sendmsg,recvfrom,recvmsg,sendfile,splice,mmap"
)
# Whoever waits for something asks more often than a connection lasts by default.
LASTING = ("--keepalive-requests", "1000000")


def trace(log: Path, *options: str) -> tuple[str, ...]:
    """Return the command that runs another under strace, whole strings shown."""
    need("strace")
    return ("strace", "-f", "-s", "4096", "-o", str(log), *options)


def test_large_body_leaves_by_sendfile(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """The counts of sendfile add up to the size, and no call shows the content."""
    size = 10 * 1024 * 1024
    content = PATTERN * (size // len(PATTERN) + 1)
    (site / "big.bin").write_bytes(content[:size])
    log = tmp_path / "strace"
    server = serve(site, "--workers", "1", prefix=trace(log, "-e", f"trace={CALLS}"))

    body = fetch(server.port, "/big.bin").body
    server.stop()
    calls = log.read_text(errors="replace")
    # A call of one thread may be shown in two pieces, with another's between.
    counts = re.findall(
        r"^[0-9]+ +(?:sendfile\(|<\.\.\. sendfile resumed>).* = ([0-9]+)$",
        calls,
        re.MULTILINE,
    )

    assert body == content[:size]
    assert sum(map(int, counts)) == size
    assert PATTERN.decode() not in calls


def test_small_file_takes_one_send(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Head and body of 1 KiB leave in one call, and the file by no other."""
    log = tmp_path / "strace"
    server = serve(site, "--workers", "1", prefix=trace(log, "-e", "trace=%network"))

    with Client(server.port) as client:
        first = client.request("/kib.bin")
        again = client.request("/kib.bin")
    server.stop()
    sends = re.findall(
        r"sendto\([0-9]+, \"HTTP/1.1 200.* = ([0-9]+)$", log.read_text(), re.MULTILINE
    )

    assert first.body == again.body == (site / "kib.bin").read_bytes()
    assert len(sends) == 2
    assert all(int(count) > 1024 for count in sends)
    assert "sendfile" not in log.read_text()


def test_file_of_some_pages_is_lent(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Asked for again and again, head and body leave in one sendfile."""
    content = PATTERN * 1000
    (site / "pages.bin").write_bytes(content)
    log = tmp_path / "strace"
    prefix = (*trace(log, "-e", f"trace={CALLS}"), *clock_ahead(tmp_path))
    server = serve(site, "--workers", "1", prefix=prefix)

    with Client(server.port) as client:
        answers = [client.request("/pages.bin").body for _ in range(100)]
    server.stop()
    sent = re.findall(
        r"^[0-9]+ +sendfile\(.* = ([0-9]+)$", log.read_text(), re.MULTILINE
    )

    assert answers == [content] * 100
    # Each wall second begins with a copy or two, and the first with some more, until
    # there is a page to lend of; it took some of them at most.
    assert len(sent) >= 10
    assert all(int(count) > len(content) for count in sent)


@pytest.mark.parametrize(
    ("call", "size"),
    [
        pytest.param("sendfile", 20_000, id="sendfile"),
        pytest.param("memfd_create", 20_000, id="memory"),
        pytest.param("madvise", 20_000, id="huge page"),
        pytest.param("madvise", 100_000, id="huge page, big file"),
    ],
)
def test_refused_lending_changes_nothing(
    serve: Serve, site: Path, tmp_path: Path, call: str, size: int
) -> None:
    """Where pages in memory can't be had or sent, the same bytes arrive."""
    content = (PATTERN * size)[:size]
    (site / "pages.bin").write_bytes(content)
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:error=EINVAL")
    # The C library calls madvise, too.
    refusal = f" {HUGE_PAGE}, " if call == "madvise" else "INJECTED"
    log = tmp_path / "strace"
    prefix = (*trace(log, *inject), *clock_ahead(tmp_path))
    server = serve(site, *LASTING, "--workers", "1", prefix=prefix)

    with Client(server.port) as client:

        def ask() -> bool:
            assert all(client.request("/pages.bin").body == content for _ in range(100))
            return refusal in log.read_text()

        wait_until(ask, "a refusal")
        assert all(client.request("/pages.bin").body == content for _ in range(100))


def test_refused_sendfile_copies(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Where sendfile is refused the same bytes arrive, and the log says so once."""
    inject = ("-e", "trace=sendfile", "-e", "inject=sendfile:error=EINVAL")
    prefix = trace(tmp_path / "strace", *inject)
    server = serve(site, "--workers", "1", prefix=prefix)
    content = (site / "mib.bin").read_bytes()

    assert fetch(server.port, "/mib.bin").body == content
    assert fetch(server.port, "/mib.bin", "Range: bytes=70000-").body == content[70000:]
    wait_until(lambda: "refuses sendfile" in server.log.read_text(), "a log line")
    server.stop()
    assert server.log.read_text().count("refuses sendfile") == 1


def test_walks_where_openat2_is_missing(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """A kernel or a sandbox without openat2 keeps the same borders."""
    (tmp_path / "secret").write_text("secret\n")
    (site / "inside").symlink_to("dir/index.html")
    (site / "outside").symlink_to("../secret")
    inject = ("-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS")
    server = serve(site, "--workers", "1", prefix=trace(tmp_path / "strace", *inject))

    assert fetch(server.port, "/hello.txt").body == b"hello\n"
    assert fetch(server.port, "/inside").body == b"DIR\n"
    assert fetch(server.port, "/outside").status == 404
    assert fetch(server.port, "/dir").status == 308


def tag_of(content: bytes) -> str:
    """Return the tag that a content has."""
    return tag_content(hash_content(content)).opaque.decode()


def slow_hashing(log: Path, folder: Path, delay_s: float) -> tuple[str, ...]:
    """Return the prefix of a server for which each MiB to hash takes so long."""
    inject = f"inject=preadv2:delay_enter={int(delay_s * 1e6)}"
    return (*trace(log, "-e", "trace=preadv2", "-e", inject), *clock_ahead(folder))


def test_file_is_hashed_once_for_all_who_wait(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """However many ask for it at once, or later, each MiB of it is read once."""
    log = tmp_path / "strace"
    prefix = slow_hashing(log, tmp_path, 0.1)
    options = ("--workers", "1", "--etag", "content")
    with (site / "big.bin").open("wb") as file:
        file.truncate(8 << 20)
    server = serve(site, *options, prefix=prefix)

    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(8)]
        for client in clients:
            client.send(get("/big.bin", method="HEAD"))
        tags = {client.response("HEAD").fields["etag"] for client in clients}
        tags.add(fetch(server.port, "/big.bin", method="HEAD").fields["etag"])
    server.stop()

    assert len(tags) == 1
    reads = re.findall(r"iov_len=1048576\}\], 1, ([0-9]+), 0", log.read_text())
    assert sorted(map(int, reads)) == [n << 20 for n in range(8)]


def test_big_file_that_is_hashed_holds_up_nobody(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Neither a file that is hashed after it, nor one that needs no thread."""
    prefix = slow_hashing(tmp_path / "strace", tmp_path, 0.1)
    options = ("--workers", "1", "--etag", "content")
    for name in ("1", "2", "3", "4"):
        with (site / name).open("wb") as file:
            file.truncate(40 << 20)
    server = serve(site, *options, prefix=prefix)

    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(4)]
        for number, client in enumerate(clients, start=1):
            client.send(get(f"/{number}", method="HEAD"))
        with Client(server.port) as other:
            assert other.request("/dir").status == 308
            assert "etag" in other.request("/mib.bin", method="HEAD").fields
            assert "etag" in other.request("/hello.txt", method="HEAD").fields
        sockets = [client.socket for client in clients]
        assert select.select(sockets, (), (), 0) == ([], [], [])


def test_file_that_changes_while_it_is_hashed_is_hashed_again(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """The tag is that of what is there then."""
    prefix = slow_hashing(tmp_path / "strace", tmp_path, 0.5)
    big, content = site / "big.bin", PATTERN * 100_000
    big.write_bytes(bytes(len(content)))
    server = serve(site, "--workers", "1", "--etag", "content", prefix=prefix)

    with Client(server.port) as client:
        client.send(get("/big.bin", method="HEAD"))
        wait_until(lambda: "1048576" in (tmp_path / "strace").read_text(), "a read")
        with big.open("r+b") as file:
            file.write(content)
        assert client.response("HEAD").fields["etag"] == tag_of(content)


def test_file_that_goes_on_changing_has_no_tag(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """After some tries there is an answer that nothing validates; later there is."""
    prefix = slow_hashing(tmp_path / "strace", tmp_path, 0.3)
    big = site / "big.bin"
    big.write_bytes(bytes(1 << 20))
    server = serve(site, "--workers", "1", "--etag", "content", prefix=prefix)

    with Client(server.port) as client:
        client.send(get("/big.bin", method="HEAD"))
        while not select.select((client.socket,), (), (), 0.01)[0]:
            os.utime(big)
        fields = client.response("HEAD").fields
        assert not fields.keys() & {"etag", "last-modified"}
        again = client.request("/big.bin", method="HEAD").fields
        assert again["etag"] == tag_of(bytes(1 << 20))


def test_nobody_waits_long_for_a_hash(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Better an answer that nothing validates, and that is not remembered."""
    prefix = slow_hashing(tmp_path / "strace", tmp_path, 1)
    with (site / "big.bin").open("wb") as file:
        file.truncate(7 << 20)
    server = serve(site, "--workers", "1", "--etag", "content", prefix=prefix)

    def has_tag() -> bool:
        fields = fetch(server.port, "/big.bin", method="HEAD").fields
        assert ("etag" in fields) == ("last-modified" in fields)
        return "etag" in fields

    # It is of a kind that is known, and so might be remembered.
    fetch(server.port, "/missing", method="HEAD")
    assert not has_tag()
    wait_until(has_tag, "the tag")


def test_file_that_can_not_be_hashed_has_no_tag(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """What can be sent is sent, and the log says what failed."""
    inject = ("-e", "trace=preadv2", "-e", "inject=preadv2:error=EIO")
    prefix = (*trace(tmp_path / "strace", *inject), *clock_ahead(tmp_path))
    server = serve(site, "--workers", "1", "--etag", "content", prefix=prefix)

    response = fetch(server.port, "/mib.bin")

    assert response.body == (site / "mib.bin").read_bytes()
    assert not response.fields.keys() & {"etag", "last-modified"}
    assert "Input/output error" in server.log.read_text()

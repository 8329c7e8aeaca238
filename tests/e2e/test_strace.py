"""What system calls a response takes, as strace sees it."""

import re
from pathlib import Path

import pytest

from running import Serve, clock_ahead, wait_until
from tools import need
from wire import Client, fetch

pytestmark = pytest.mark.e2e

PATTERN = b"CONTENT-OF-THE-FILE."
CALLS = (
    "read,pread64,readv,preadv,preadv2,write,writev,pwrite64,"
    "sendto,sendmsg,recvfrom,recvmsg,sendfile,splice,mmap"
)


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
        answers = [client.request("/pages.bin").body for _ in range(20)]
    server.stop()
    sent = re.findall(
        r"^[0-9]+ +sendfile\(.* = ([0-9]+)$", log.read_text(), re.MULTILINE
    )

    assert answers == [content] * 20
    # Each wall second begins with copies of one or two; it took some of them at most.
    assert len(sent) >= 10
    assert all(int(count) > len(content) for count in sent)


@pytest.mark.parametrize("call", ["sendfile", "memfd_create"])
def test_refused_lending_copies(
    serve: Serve, site: Path, tmp_path: Path, call: str
) -> None:
    """Where a file in memory can't be had or sent, the same bytes arrive."""
    content = PATTERN * 1000
    (site / "pages.bin").write_bytes(content)
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:error=EINVAL")
    log = tmp_path / "strace"
    prefix = (*trace(log, *inject), *clock_ahead(tmp_path))
    server = serve(site, "--workers", "1", prefix=prefix)

    with Client(server.port) as client:
        assert all(client.request("/pages.bin").body == content for _ in range(20))
    server.stop()
    assert "INJECTED" in log.read_text()


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

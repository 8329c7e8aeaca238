"""The access log: its lines, who can forge one, and what happens if it is stuck."""

import asyncio
import fcntl
import os
import re
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from running import Serve, wait_until
from sendfile_server.server.access_log import AccessLog
from sendfile_server.server.exchanges import Exchange, Exchanges
from sendfile_server.server.log_formats import format_combined
from wire import Client, fetch, get

LINE = re.compile(
    r"(?P<peer>\S+) - - \[(?P<time>[^]]+)\]"
    r' "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<size>\d+)'
    r' "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"


def exchange(head: bytes = HEAD % b"") -> Exchange:
    line, line_end, rest = head.partition(b"\r\n")
    return b"127.0.0.1", 1_000_000_000, 0.0, line, line_end + rest, 200, 10


def start(
    loop: asyncio.AbstractEventLoop, descriptor: int
) -> tuple[AccessLog, Exchanges]:
    """Start a log on *descriptor*, and what collects for it."""
    log = AccessLog(descriptor, format_combined, lambda peers, _: peers)
    return log, Exchanges(loop, [log.tell])


def parse(line: str) -> dict[str, str]:
    """Take one line apart, or fail if it is not one."""
    match = LINE.fullmatch(line)
    assert match, line
    return match.groupdict()


def lines_of(log: Path, count: int) -> list[dict[str, str]]:
    """Wait for *count* lines and return them taken apart."""
    wait_until(lambda: log.read_bytes().count(b"\n") >= count, f"{count} lines")
    return [parse(line) for line in log.read_text().splitlines()]


# The writer.


def test_close_writes_what_is_noted(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """Every record is in the file once the log is closed, in its order."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log, exchanges = start(loop, descriptor)

    for number in range(1000):
        exchanges.append(exchange(HEAD % (b"User-Agent: %d\r\n" % number)))
    exchanges.flush()
    log.close(5)
    os.close(descriptor)

    lines = path.read_text().splitlines()
    assert [parse(line)["agent"] for line in lines] == list(map(str, range(1000)))


def test_lines_come_without_being_asked_for(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """One record is not held back until there are many."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log, exchanges = start(loop, descriptor)

    end = loop.time() + 5

    def look() -> None:
        if path.stat().st_size or loop.time() > end:
            loop.stop()
        else:
            loop.call_later(0.01, look)

    exchanges.append(exchange())
    look()
    loop.run_forever()

    assert path.read_text().count("\n") == 1
    exchanges.flush()
    log.close(5)
    os.close(descriptor)


def test_stuck_pipe_drops_and_counts(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Appending never waits for a reader; what is not written is told, to the line."""
    appended = 50_000
    reader, writer = os.pipe()
    log, exchanges = start(loop, writer)
    began = time.monotonic()
    for _ in range(appended):
        exchanges.append(exchange())
    assert time.monotonic() - began < 5

    # Somebody reads after all.
    written = []

    def read() -> None:
        while batch := os.read(reader, 1 << 20):
            written.append(batch.count(b"\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    exchanges.flush()
    log.close(20)
    os.close(writer)
    thread.join(20)
    os.close(reader)

    told = re.findall(r"(\d+) access log lines were dropped", caplog.text)
    dropped = sum(map(int, told))
    assert dropped > appended // 2
    assert sum(written) + dropped == appended


# Whole servers.


def test_pipe_that_does_not_block_gets_every_line(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Whoever reads it may have made it so, for both ends are one open file."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    log, exchanges = start(loop, writer)
    for _ in range(1000):
        exchanges.append(exchange())
    exchanges.flush()
    with os.fdopen(reader) as lines, ThreadPoolExecutor() as threads:
        read = threads.submit(lines.readlines)
        log.close(20)
        os.close(writer)
        assert len([parse(line.rstrip("\n")) for line in read.result(20)]) == 1000


def test_full_disk_loses_whole_lines_and_counts(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """What is written once there is room again is not glued to half a line."""
    path = tmp_path / "log"
    limit = ("sh", "-c", 'ulimit -S -f 16; exec "$@"', "sh")  # blocks of 512 bytes
    options = ("--workers", "1", "--access-log", str(path))
    server = serve(site, *options, prefix=limit)
    with Client(server.port) as client:
        for _ in range(200):
            client.request("/digits.txt")
        is_full = lambda: "access log: File too large" in server.log.read_text()  # noqa: E731
        wait_until(is_full, "the end of the room")
        for _ in range(50):
            client.request("/digits.txt")
        for pid in server.processes():
            room = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, room)
        client.request("/digits.txt")
    assert server.stop() == 0

    lines = path.read_text().splitlines()
    whole = [line for line in lines if LINE.fullmatch(line)]
    told = re.findall(r"(\d+) access log lines were lost", server.log.read_text())
    assert len(whole) == len(lines) - 1
    assert len(whole) + sum(map(int, told)) == 251


def test_request_is_told_in_the_combined_format(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Each kind of answer makes one line that says what was asked and sent."""
    log = tmp_path / "log"
    server = serve(site, "--workers", "1", "--access-log", str(log))

    with Client(server.port) as client:
        client.request("/kib.bin?q=1", "Referer: http://a/b", "User-Agent: me (1.0)")
        client.request("/missing")
        client.request("/digits.txt", "Range: bytes=2-5")
        client.request("/kib.bin", method="HEAD")
        client.request("/mib.bin")
    with Client(server.port) as client:
        client.send(b"nonsense\r\n\r\n")
        client.response()

    told = lines_of(log, 6)
    assert [(line["request"], line["status"], line["size"]) for line in told] == [
        ("GET /kib.bin?q=1 HTTP/1.1", "200", "1024"),
        ("GET /missing HTTP/1.1", "404", "14"),
        ("GET /digits.txt HTTP/1.1", "206", "4"),
        ("HEAD /kib.bin HTTP/1.1", "200", "0"),
        ("GET /mib.bin HTTP/1.1", "200", "1048576"),
        ("nonsense", "400", "16"),
    ]
    assert {line["peer"] for line in told} == {"127.0.0.1"}
    assert (told[0]["referer"], told[0]["agent"]) == ("http://a/b", "me (1.0)")
    assert (told[1]["referer"], told[1]["agent"]) == ("-", "-")


def test_requests_cannot_forge_lines(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Quotes and control bytes from the network stay inside their own line."""
    log = tmp_path / "log"
    server = serve(site, "--workers", "1", "--access-log", str(log))
    forged = b'GET /" HTTP/1.1\n127.0.0.1 - - [x] "GET /forged'

    for head in (
        forged + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\x00\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
        get("/digits.txt", 'User-Agent: "\x85 "-" "-"'),
        get('/"digits.txt'),
    ):
        with Client(server.port) as client:
            client.send(head)
            client.response()

    told = lines_of(log, 4)
    assert len(told) == 4
    assert not any(line["request"].startswith("GET /forged") for line in told)
    assert told[2]["agent"] == r"\x22\x85 \x22-\x22 \x22-\x22"
    assert log.read_text().isascii()


def test_cut_answer_is_told_with_what_was_sent(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """A client that goes away leaves a line with fewer bytes than the file has."""
    log = tmp_path / "log"
    with (site / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    server = serve(site, "--workers", "1", "--access-log", str(log))

    with Client(server.port) as client:
        client.send(get("/big.bin"))
        client.socket.recv(1000)

    (told,) = lines_of(log, 1)
    assert told["status"] == "200"
    assert 0 < int(told["size"]) < 64 << 20


def test_unix_client_has_a_name(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Without an address, the line says that it came by a Unix socket."""
    log, path = tmp_path / "log", tmp_path / "socket"
    options = ("--listen", f"unix:{path}", "--access-log", str(log))
    serve(site, *options, "--workers", "1")

    fetch(str(path), "/digits.txt")

    assert lines_of(log, 1)[0]["peer"] == "unix:"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_line_is_lost_at_the_end(
    serve: Serve, site: Path, tmp_path: Path, workers: str
) -> None:
    """Five hundred answers and a SIGTERM leave five hundred lines, all whole."""
    log = tmp_path / "log"
    server = serve(site, "--workers", workers, "--access-log", str(log))

    for batch in range(10):
        clients = [Client(server.port) for _ in range(10)]
        for client in clients:
            fields = (f"User-Agent: {batch}", "Connection: close")
            client.send(get("/digits.txt") * 4 + get("/kib.bin", *fields))
        for client in clients:
            with client:
                assert all(client.response().is_complete for _ in range(5))
    assert server.stop() == 0

    lines = [parse(line) for line in log.read_text().splitlines()]
    assert len(lines) == 500


def launch_with_stdout(
    site: Path, stdout: int, log: Path, workers: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server whose access log goes to *stdout*; return it and its port."""
    options = ("--port", "0", "--workers", workers, "--access-log", "-")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "sendfile_server", str(site), *options],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    wait_until(lambda: "Serving" in log.read_text(), "the server")
    return process, int(re.findall(r":(\d+)/", log.read_text())[0])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_dash_is_stdout(site: Path, tmp_path: Path, workers: str) -> None:
    """With - the lines go to stdout, and nothing else does."""
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        process, port = launch_with_stdout(
            site, stdout.fileno(), tmp_path / "stderr", workers
        )
    try:
        fetch(port, "/digits.txt")
        fetch(port, "/missing")
        told = lines_of(out, 2)
        # Each worker writes its own.
        assert sorted(line["status"] for line in told) == ["200", "404"]
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stuck_pipe_never_stops_serving(
    site: Path, tmp_path: Path, workers: str
) -> None:
    """Stdout is a full pipe that nobody reads: answers come, and so does the end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process, port = launch_with_stdout(site, writer, tmp_path / "stderr", workers)
    os.close(writer)
    try:
        for _ in range(5):
            with Client(port) as client:
                client.send(get("/digits.txt") * 900)
                for _ in range(900):
                    assert client.response().body == b"0123456789"
        began = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
        assert time.monotonic() - began < 10
    finally:
        process.kill()
        process.wait(20)
        os.close(reader)

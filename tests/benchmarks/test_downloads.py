import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks import BenchmarkError
from benchmarks.downloads import Client, File, download
from running import wait_until

CPU = min(os.sched_getaffinity(0))
BODY = 100_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
FILE = File(path="/large.bin", head=len(HEAD), body=BODY)

Serve = Callable[[bytes], int]


@pytest.fixture
def asked() -> list[bytes]:
    """Return the requests that have come so far."""
    return []


@pytest.fixture
def serve(asked: list[bytes]) -> Iterator[Serve]:
    """Answer every request of two connections with given bytes; return the port.

    A response that is not whole is the last one.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(response: bytes) -> int:
        def run() -> None:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # fewer clients than could be
            with client:
                try:
                    while request := client.recv(65536):
                        asked.append(request)
                        client.sendall(response)
                        if len(response) != len(HEAD) + BODY:
                            return
                except ConnectionError:
                    return  # it was stopped in the middle of a file

        threads.extend(threading.Thread(target=run) for _ in range(2))
        for thread in threads:
            thread.start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    listener.close()


@pytest.mark.alone
def test_files_are_loaded_again_and_again(serve: Serve, asked: list[bytes]) -> None:
    """What is taken is counted, over more than one response."""
    port = serve(HEAD + bytes(BODY))

    with download(port, [FILE] * 2, mib_per_s=100, cpu=CPU) as downloads:
        wait_until(lambda: len(asked) > 6, "them to have loaded several")

    assert downloads.bytes > 2 * BODY
    assert downloads.mib_per_s < 200


@pytest.mark.alone
@pytest.mark.parametrize(
    "response",
    [
        pytest.param(HEAD + bytes(BODY - 1), id="a-byte-short"),
        pytest.param(b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n", id="503"),
        pytest.param(HEAD[:-10], id="head-cut-short"),
    ],
)
def test_failed_or_short_response_is_an_error(serve: Serve, response: bytes) -> None:
    """One of them is enough, and it is told after the block."""
    port = serve(response)

    with (
        pytest.raises(BenchmarkError, match=r"large\.bin"),
        download(port, [FILE] * 2, mib_per_s=100, cpu=CPU),
    ):
        threading.Event().wait(0.05)


def test_no_more_is_taken_than_asked(serve: Serve) -> None:
    """A client's rate is kept by what it takes, not by what comes."""
    client = Client(serve(HEAD + bytes(BODY)), FILE)
    with client.socket:
        while client.taken < 10:
            client.take(1, bytearray(1))

    assert client.taken == 10

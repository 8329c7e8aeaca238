import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks import BenchmarkError
from benchmarks.wire import fetch, format_request

Answer = Callable[[bytes], int]


@pytest.fixture
def answer() -> Iterator[Answer]:
    """Answer one connection with given bytes, and close it; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(response: bytes) -> int:
        def run() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(response)

        threads.append(threading.Thread(target=run))
        threads[0].start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for thread in threads:
        thread.join(10)
    listener.close()


def test_response_is_read_whole(answer: Answer) -> None:
    """Its size is that of its head and its body."""
    raw = b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: "x"\r\n\r\nabc'
    response = fetch(answer(raw), "/", ())

    assert (response.status, response.body, response.size) == (200, b"abc", len(raw))
    assert response.field("etag") == '"x"'


def test_304_has_no_body(answer: Answer) -> None:
    """Its Content-Length is that of the file."""
    raw = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"

    assert fetch(answer(raw), "/", ()).body == b""


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", id="short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", id="long"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nabc", id="no-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConte", id="head-cut-short"),
    ],
)
def test_wrong_length_is_an_error(answer: Answer, raw: bytes) -> None:
    """Nobody is measured who can't answer once."""
    with pytest.raises(BenchmarkError):
        fetch(answer(raw), "/", ())


def test_request_is_a_get_with_its_fields() -> None:
    """It has one line for each, and an empty one."""
    request = format_request("/x", ("Host: a", "Range: bytes=0-1"))

    assert request == b"GET /x HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n"

"""What is served is let go of by the count of references, and waits for no collector.

Workers hardly ever look for cycles among all that they have: what was in one, stays.
"""

from pathlib import Path

from cycles import Collector
from running import Serve
from wire import Client, fetch, get


def test_no_response_and_no_connection_is_part_of_a_cycle(
    serve: Serve, tmp_path: Path
) -> None:
    """Of many kinds, however they ended; but not of errors, such as those of h11."""
    collector, site = Collector(tmp_path), tmp_path / "site"
    (site / "dir").mkdir(parents=True)
    (site / "small").write_bytes(b"small")
    (site / "big").write_bytes(bytes(32 << 20))
    server = serve(
        site,
        *("--workers", "1", "--header-timeout", "1", "--keepalive-timeout", "1"),
        *("--access-log", str(tmp_path / "log"), "--max-connections", "8"),
        prefix=collector.prefix,
    )
    with Client(server.port) as idle, Client(server.port) as slow:
        slow.send(b"GET /small HTTP/1.1\r\n")
        for _ in range(3):
            for target in ("/small", "/missing", "/dir", "/big", "/%"):
                for field in ("Via: x", "Range: bytes=0-9", 'If-None-Match: "x"'):
                    fetch(server.port, target, field)
                    fetch(server.port, target, field, method="HEAD")
            fetch(server.port, "/small", "Range: bytes=0-0,2-3")
            fetch(server.port, "/small", method="DELETE")
            with Client(server.port) as impatient:
                impatient.send(get("/big"))
            with Client(server.port) as pipelining:
                pipelining.send(get("/small") * 50)
        assert slow.response().status == 408
        assert idle.is_closed()
    assert collector.count() == 0


def test_no_greeting_is_part_of_a_cycle(serve: Serve, tmp_path: Path) -> None:
    """Of whom a proxy tells, and of whom it does not."""
    collector = Collector(tmp_path)
    (tmp_path / "site").mkdir()
    server = serve(
        tmp_path / "site",
        *("--workers", "1", "--client-address", "proxy"),
        *("--trusted-proxy", "127.0.0.1"),
        prefix=collector.prefix,
    )
    for header in (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY UNKNOWN\r\n"):
        for _ in range(3):
            with Client(server.port) as client:
                client.send(header + get("/", "Connection: close"))
                assert client.response().status == 404
                assert client.is_closed()
    assert collector.count() == 0

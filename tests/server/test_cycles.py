"""What is served is let go of by the count of references, and waits for no collector.

Workers hardly ever look for cycles among all that they have: what was in one, stays.
"""

from pathlib import Path

from cycles import Collector
from running import Serve, wait_until
from wire import Client, fetch, get


def test_no_response_and_no_connection_is_part_of_a_cycle(
    serve: Serve, tmp_path: Path
) -> None:
    """Of any kind, however it ended; but for what h11 refused."""
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

    with Client(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
        assert client.response().status == 400
    wait_until(collector.count, "what h11 refused to be found")

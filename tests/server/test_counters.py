"""What the server tells of itself at an address of its own."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from running import Serve, Server, wait_until
from sendfile_server.server.counters import Counters
from sendfile_server.server.exchanges import Batch
from wire import Client, fetch

Counts = dict[tuple[str, ...], float]


def metrics_of(server: Server) -> Callable[[], Counts]:
    """Return what asks *server* for its numbers, by name without prefix, and labels."""
    match = re.search(r"metrics at [^ ]*:([0-9]+) ", server.log.read_text())
    assert match
    port = int(match[1])

    def ask() -> Counts:
        text = fetch(port, "/metrics").body.decode()
        return {
            (
                sample.name.removeprefix("sendfile_serve_"),
                *sample.labels.values(),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return ask


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("memory", [(), ("--no-memory",)])
def test_each_response_is_counted(
    serve: Serve, site: Path, workers: str, memory: tuple[str, ...]
) -> None:
    """By method and class of status, with the bytes of its body and how they left."""
    server = serve(site, "--metrics", "127.0.0.1:0", "--workers", workers, *memory)
    ask = metrics_of(server)
    for _ in range(3):
        with Client(server.port) as client:
            client.request("/kib.bin")
            client.request("/kib.bin", method="HEAD")
            client.request("/mib.bin")
            client.request("/missing")
            client.request("/", method="DELETE")
            client.send(b"GETX\r\n\r\n")  # which is no method, nor a line
            client.response()

    def all_is_told() -> bool:
        return ask()["duration_seconds_count",] == 18

    wait_until(all_is_told, "all responses to be counted")
    now = ask()
    assert now["requests_total", "GET", "2xx"] == 6
    assert now["requests_total", "HEAD", "2xx"] == 3
    assert now["requests_total", "GET", "4xx"] == 3
    assert now["requests_total", "other", "4xx"] == 6
    assert now["body_bytes_total",] >= 3 * (1024 + 2**20)
    assert now["file_bytes_total", "sendfile"] == 3 * 2**20
    assert now["file_bytes_total", "copied"] == 0
    assert now["connections_total",] == 3
    assert now["open_connections",] == 0
    assert now["duration_seconds_bucket", "+Inf"] == 18
    assert 0 < now["duration_seconds_sum",] < 20
    remembered, size = now["remembered_total",], now["memory_bytes",]
    assert (remembered > 0, size > 0) == ((memory == ()),) * 2


def test_connections_are_those_of_clients(serve: Serve, site: Path) -> None:
    """Who asks for metrics is not counted among them."""
    server = serve(site, "--metrics", "127.0.0.1:0", "--workers", "1")
    ask = metrics_of(server)
    with Client(server.port) as one, Client(server.port) as two:
        one.request("/hello.txt")
        two.request("/hello.txt")
        assert ask()["open_connections",] == 2
    wait_until(lambda: ask()["open_connections",] == 0, "the end of both")

    assert ask()["connections_total",] == 2


def test_site_has_no_such_page(serve: Serve, site: Path) -> None:
    """Nothing of it is told to the clients of the site."""
    server = serve(site, "--metrics", "127.0.0.1:0")
    assert fetch(server.port, "/metrics").status == 404


def test_duration_at_a_bound_is_within_it() -> None:
    """Each bucket has what took no longer, whenever it was told, and the last all."""
    counters = Counters()
    for durations in ([0.0001, 0.01], [0.0], [60.0, 61.0, 0.02]):
        rows = [(b"", 0, took, b"GET / x", b"", 200, 1) for took in durations]
        counters.tell(Batch(*zip(*rows, strict=True)))

    assert [counters.within(bucket) for bucket in range(8)] == [2, 2, 3, 4, 4, 4, 5, 6]
    assert counters.microseconds == 121_030_100
    assert (counters.count, counters.body_bytes) == (6, 6)

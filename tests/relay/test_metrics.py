"""What the relay tells of itself at an address of its own."""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relaying import Relay, Target, connect, descriptors, echo, read_all
from running import Server, wait_until
from wire import Client, Response, converse, fetch, get

METRICS = ("--metrics", "127.0.0.1:0")
Counts = dict[tuple[str, ...], float]


def port_of_metrics(server: Server) -> int:
    """Return where *server* says that its metrics are."""
    match = re.search(r"metrics at [^ ]*:([0-9]+) ", server.log.read_text())
    assert match
    return int(match[1])


def ask(server: Server, target: str = "/metrics", **options: str) -> Response:
    """Ask for a page of *server*."""
    return fetch(port_of_metrics(server), target, **options)


def counts(server: Server) -> Counts:
    """Return the numbers of *server* by name without prefix, and labels."""
    families = text_string_to_metric_families(ask(server).body.decode())
    return {
        (
            sample.name.removeprefix("splice_relay_"),
            *sample.labels.values(),
        ): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("workers", ["1", "3"])
def test_counts_are_of_all_workers(relay: Relay, target: Target, workers: str) -> None:
    """Connections, and bytes by direction and way, whoever moved them."""
    server = relay(target(echo), *METRICS, "--workers", workers)
    little, much = b"x" * 10, bytes(3_000_000)
    for data in (little, much):
        with connect(server) as client:
            client.settimeout(60)
            sender = os.fork()
            if sender == 0:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                os._exit(0)
            assert read_all(client) == data
            os.waitpid(sender, 0)
    with connect(server) as client:
        client.sendall(little)
        assert client.recv(100) == little

        def all_is_told() -> bool:
            now = counts(server)
            moved = [
                now["bytes_total", direction, "spliced"]
                + now["bytes_total", direction, "copied"]
                for direction in ("to_target", "to_client")
            ]
            return moved == [len(little) * 2 + len(much)] * 2

        wait_until(all_is_told, "all bytes to be counted")
        now = counts(server)
    assert now["connections_total",] == 3
    assert now["open_connections",] == 1
    assert now["ended_connections_total", "spliced"] == 1
    assert now["ended_connections_total", "copied"] == 1
    assert now["bytes_total", "to_target", "spliced"] > 0


def test_errors_are_told_apart(relay: Relay, target: Target) -> None:
    """No target, a reset and a timeout each have their count."""

    def reset(client: socket.socket) -> None:
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *[0] * 7]))

    server = relay(
        target(reset),
        *METRICS,
        "--idle-timeout",
        "1",
        "--forward",
        "127.0.0.1:0=127.0.0.1:1",
    )
    with connect(server) as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(server) as client:
        assert client.recv(1) == b""
    refusing = re.search(r":([0-9]+) to 127.0.0.1:1,", server.log.read_text())
    assert refusing
    with socket.create_connection(("127.0.0.1", int(refusing[1])), 20) as client:
        assert client.recv(1) == b""

    kinds = ("no-target", "reset", "timeout")

    def errors() -> list[float]:
        now = counts(server)
        return [now["errors_total", kind] for kind in kinds]

    wait_until(lambda: errors() == [1, 1, 1], "the three to be counted")


def test_refused_connections_are_told(relay: Relay, target: Target) -> None:
    """As errors, and as open no more."""
    trusted = ("--accept-proxy", "--trusted-proxy", "192.0.2.1")
    server = relay(target(echo), *METRICS, *trusted)
    # It may come before the connection seems made.
    with pytest.raises(ConnectionResetError), connect(server) as client:
        client.recv(1)
    wait_until(lambda: counts(server)["errors_total", "refused"] == 1, "the count")
    assert counts(server)["open_connections",] == 0


def test_recordings_that_were_given_up_are_counted(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Here for want of room."""

    def listen(client: socket.socket) -> None:
        read_all(client)

    options = ("--record", str(tmp_path), "--record-size", "1", "--workers", "1")
    server = relay(target(listen), *METRICS, *options)
    for data in (b"little", bytes(3_000_000)):
        with connect(server) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
    name = "unrecorded_connections_total"
    wait_until(lambda: counts(server)[name,] == 1, "the second to be counted")


def test_counters_survive_a_worker(relay: Relay, target: Target) -> None:
    """What a worker had counted when it was killed stays counted."""
    server = relay(target(echo), *METRICS, "--workers", "2")
    for _ in range(4):
        with connect(server) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    wait_until(lambda: counts(server)["connections_total",] == 4, "all four")
    before = server.children()
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_until(
        lambda: (
            len(server.children()) == 2 and not set(server.children()) & set(before)
        ),
        "two new workers",
    )
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"

    wait_until(lambda: counts(server)["connections_total",] == 5, "one more")


def test_is_told_when_full_and_when_draining(relay: Relay, target: Target) -> None:
    """No limit of connections keeps out who asks, and the end is told before it is."""
    server = relay(target(echo), *METRICS, "--max-connections", "1", "--workers", "1")
    port = port_of_metrics(server)
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert counts(server)["open_connections",] == 1
        assert fetch(port, "/ready").status == 200
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: fetch(port, "/ready").status == 503, "the end to be told")
        assert fetch(port, "/live").status == 200
        assert client.send(b"y") == 1
        assert client.recv(1) == b"y"
    assert server.process.wait(20) == 0


def test_visitors_are_bounded(relay: Relay, target: Target) -> None:
    """Those who ask nothing take no descriptors of others, and no time of who asks."""
    server = relay(target(echo), *METRICS, "--workers", "1")
    port = port_of_metrics(server)
    before = descriptors(server)
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(Client(port)) for _ in range(40)]
        wait_until(lambda: descriptors(server) >= before + 16, "the first")
        with connect(server) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert descriptors(server) == before + 16 + 2
        asked = time.monotonic()
        assert fetch(port, "/live").status == 200
        assert time.monotonic() - asked < 5
        assert visitors[-1].request("/live").status == 200
    wait_until(lambda: descriptors(server) == before, "all to be closed")


def test_only_the_pages_are_told(
    relay: Relay, target: Target, subtests: pytest.Subtests
) -> None:
    """Other targets and methods are refused, each by its status."""
    server = relay(target(echo), *METRICS)
    for form, method, status in (
        ("/metrics", "HEAD", 200),
        ("/metrics?x=1", "GET", 200),
        ("/", "GET", 200),
        ("/status", "GET", 404),
        ("/metrics/", "GET", 404),
        ("/metrics", "OPTIONS", 204),
        ("/metrics", "POST", 405),
        ("/metrics", "BREW", 501),
    ):
        answer = ask(server, form, method=method)

        with subtests.test(form=form, method=method):
            assert answer.status == status
            assert answer.fields["connection"] == "close"
            assert (answer.body == b"") is (method in ("HEAD", "OPTIONS"))
    with Client(port_of_metrics(server)) as client:
        client.send(b"HEAD / HTTP/1.1\r\n\r\n")  # which names no host
        assert client.response("HEAD").status == 400
        assert client.is_closed()


def test_whoever_asks_oddly_gets_an_answer(
    relay: Relay, target: Target, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """One answer, whole, however the request comes; then the connection is closed."""
    relay(target(echo), "--metrics", f"unix:{tmp_path}/metrics")
    for name, pieces, status in (
        ("dribbled", [bytes([byte]) for byte in get("/live")], 200),
        ("pipelined", [get("/live") + get("/ready")], 200),
        ("no HTTP", [b"\0" * 100], 400),
        ("long", [b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 9000], 431),
    ):
        answer = converse(f"{tmp_path}/metrics", pieces)

        with subtests.test(name):
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert answer.count(b"HTTP/1.1") == 1


def test_unix_socket(relay: Relay, target: Target, tmp_path: Path) -> None:
    """Metrics are told by a Unix socket too, whose file is gone at the end."""
    path = tmp_path / "metrics"
    server = relay(target(echo), "--metrics", f"unix:{path}")
    assert fetch(str(path), "/metrics").status == 200

    assert server.stop() == 0
    assert not path.exists()

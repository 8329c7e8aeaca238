"""Targets that are not there, not yet there, or known by a name."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relaying import (
    Relay,
    Target,
    connect,
    connect_unix,
    descriptors,
    echo,
    read_all,
    reset,
    resolver,
)
from running import pass_time, wait_until
from tools import need


def test_refused_target_closes_the_client_at_once(relay: Relay) -> None:
    """With one line in the log for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = relay(f"127.0.0.1:{port}")
    with connect(server) as client:
        assert read_all(client) == b""
    line = f"cannot connect to 127.0.0.1:{port}: Connection refused"
    wait_until(lambda: line in server.log.read_text(), "a line in the log")
    assert server.log.read_text().count("cannot connect") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_log_that_nobody_reads_keeps_no_client_waiting(
    relay: Relay, free_port: int, tmp_path: Path, workers: str
) -> None:
    """A target that is down is worth a line for each who comes, and nobody waits."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        options = ("--log", str(path), "--workers", workers)
        server = relay(f"127.0.0.1:{free_port}", *options)
        for _ in range(100):
            with connect(server) as client:
                assert read_all(client) == b""
        assert server.stop() == 0
        assert b"cannot connect" in reader.read()


@pytest.fixture
def busy(free_port: int) -> Iterator[socket.socket]:
    """Listen with a queue that one who waits has filled, so that it takes nobody."""
    with socket.socket() as listener, socket.socket() as waiting:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", free_port))
        listener.listen(0)
        listener.settimeout(20)
        waiting.connect(listener.getsockname())
        yield listener


def address_of(listener: socket.socket) -> str:
    """Return it as the relay takes it."""
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_port_that_nobody_listens_on_is_not_our_own(
    relay: Relay, tmp_path: Path
) -> None:
    """Where the kernel would choose just that one for us, the target is refused."""
    need("unshare", "ip")
    only_port = "/proc/sys/net/ipv4/ip_local_port_range"
    shell = f'ip link set lo up && echo 40000 40000 >{only_port} && exec "$@"'
    server = relay(
        "127.0.0.1:40000",
        listen=f"unix:{tmp_path}/relay",
        prefix=("unshare", "--map-root-user", "--net", "sh", "-c", shell, "sh"),
    )
    with connect_unix(f"unix:{tmp_path}/relay") as client:
        assert read_all(client) == b""
    assert "127.0.0.1:40000: Connection refused" in server.log.read_text()


def test_target_that_accepts_nobody_is_given_up(
    relay: Relay, busy: socket.socket
) -> None:
    """After the connect timeout, the client is let go."""
    server = relay(address_of(busy), "--connect-timeout", "1")
    with connect(server) as client:
        assert read_all(client) == b""
    assert "Connection timed out" in server.log.read_text()


def test_target_may_take_its_time_to_accept(relay: Relay, busy: socket.socket) -> None:
    """The client is served then."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(connect(relay(address_of(busy))))
        pass_time(0.3)
        for _ in range(2):
            stack.enter_context(busy.accept()[0]).sendall(b"welcome")
        assert client.recv(20) == b"welcome"


def test_target_is_not_waited_for_alone(relay: Relay, busy: socket.socket) -> None:
    """A client that resets its connection meanwhile is no more."""
    server = relay(address_of(busy), "--connect-timeout", "60", "--workers", "1")
    before = descriptors(server)
    client = connect(server)
    wait_until(lambda: descriptors(server) == before + 2, "both sockets")
    reset(client)
    wait_until(lambda: descriptors(server) == before, "both to be closed")


def test_full_queue_of_a_unix_socket_is_waited_for(
    relay: Relay, tmp_path: Path
) -> None:
    """As one of TCP is: a burst of clients is no reason to turn any away."""
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(f"{tmp_path}/target")
        listener.listen(0)
        listener.settimeout(20)
        server = relay(f"unix:{tmp_path}/target", "--workers", "1")
        clients = [stack.enter_context(connect(server)) for _ in range(5)]
        pass_time(0.3)
        for _ in clients:
            stack.enter_context(listener.accept()[0]).sendall(b"welcome")
        assert [client.recv(20) for client in clients] == [b"welcome"] * 5


def test_full_queue_of_a_unix_socket_is_given_up(relay: Relay, tmp_path: Path) -> None:
    """After the connect timeout, too."""
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(f"{tmp_path}/target")
        listener.listen(0)
        options = ("--connect-timeout", "1", "--workers", "1")
        server = relay(f"unix:{tmp_path}/target", *options)
        clients = [stack.enter_context(connect(server)) for _ in range(2)]
        clients[1].settimeout(10)
        assert clients[1].recv(1) == b""
        assert "Connection timed out" in server.log.read_text()


def test_name_is_looked_up(relay: Relay, target: Target) -> None:
    """A name that stands for several places is tried at each of them."""
    port = target(echo).rpartition(":")[2]
    server = relay(f"localhost:{port}")
    for _ in range(3):
        with connect(server) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"


def test_place_that_accepts_nobody_leaves_time_for_the_next(
    relay: Relay, busy: socket.socket, tmp_path: Path
) -> None:
    """Each of the places that a name stands for has the connect timeout."""
    port = busy.getsockname()[1]
    names = resolver(tmp_path, 'return ["127.0.0.1", "127.0.0.2"]')
    with socket.create_server(("127.0.0.2", port)) as second:
        server = relay(f"both.test:{port}", "--connect-timeout", "1", prefix=names)
        with connect(server) as client:
            second.settimeout(20)
            second.accept()[0].close()
            assert read_all(client) == b""
    assert "cannot connect" not in server.log.read_text()


def test_name_is_asked_for_once_whoever_waits(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """However slow a name server is, clients don't queue up for it."""
    port = target(echo).rpartition(":")[2]
    asked, answer = tmp_path / "asked", tmp_path / "answer"
    code = f"""
with open({str(asked)!r}, "a") as file:
    file.write(host)
while not os.path.exists({str(answer)!r}):
    time.sleep(0.01)
return ["127.0.0.1"]"""
    names = resolver(tmp_path, code)
    server = relay(f"slow.test:{port}", "--workers", "1", prefix=names)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(20)]
        wait_until(asked.exists, "the first question")
        pass_time(0.3)
        answer.touch()
        for client in clients:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    assert asked.read_text() == "slow.test"


def test_unknown_name_is_told_for_each_connection(relay: Relay) -> None:
    """The relay runs, since the name may be known later."""
    server = relay("no.such.invalid:80")
    with connect(server) as client:
        assert read_all(client) == b""
    line = "cannot connect to no.such.invalid:80"
    wait_until(lambda: line in server.log.read_text(), "a line in the log")

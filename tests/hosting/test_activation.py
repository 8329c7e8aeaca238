"""Sockets that are given: by systemd's own program, or as it gives them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import DEADLINE_S, Serve, Server, children, end, opened, wait_until
from tools import need
from wire import Client, fetch

# Listens at places of its own choice, one for each name, says where, and becomes the
# command.
GIVE = """
import os, socket, sys
names, command = sys.argv[1], sys.argv[2:]
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names.split(":")]
ports = [str(each.getsockname()[1]) for each in sockets]
for place, each in enumerate(sockets, 3):
    assert each.fileno() == place
    os.set_inheritable(place, True)
os.environ |= {
    "LISTEN_PID": str(os.getpid()),
    "LISTEN_FDS": str(len(sockets)),
    "LISTEN_FDNAMES": names,
}
os.write(2, ("ports " + " ".join(ports) + "\\n").encode())
os.execv(command[0], command)
"""


def ports_of(server: Server) -> list[int]:
    """Return where the sockets listen that were given."""
    first, *_ = server.log.read_text().splitlines()
    return [int(port) for port in first.split(" ")[1:]]


def giving(*names: str) -> tuple[str, ...]:
    """Return the prefix of a command that is to be given sockets of these *names*."""
    return (sys.executable, "-c", GIVE, ":".join(names))


@pytest.fixture
def activated(site: Path, free_port: int, tmp_path: Path) -> Iterator[int]:
    """Have systemd's program listen at a port, and start a server for who comes."""
    need("systemd-socket-activate")
    command = ("systemd-socket-activate", "-l", f"127.0.0.1:{free_port}")
    server = (sys.executable, "-m", "sendfile_server", str(site), "--workers", "2")
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen((*command, *server), stderr=log) as process:
        wait_until(
            lambda: "Listening on" in (tmp_path / "log").read_text(), "it to listen"
        )
        yield free_port
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)


def test_systemd_gives_the_socket(activated: int) -> None:
    """Whoever came before the server was there is answered, too."""
    with Client(activated) as first:
        assert first.request("/digits.txt").body == b"0123456789"
    assert fetch(activated, "/hello.txt").body == b"hello\n"


def test_all_that_is_given_replaces_host_and_port(serve: Serve, site: Path) -> None:
    """Without --listen, whatever its name."""
    server = serve(site, "--workers", "1", prefix=giving("unknown", "web"))
    for port in ports_of(server):
        assert fetch(port, "/digits.txt").body == b"0123456789"


def test_options_choose_by_name(serve: Serve, site: Path) -> None:
    """Each option gets the socket that it names, and others are for nobody."""
    options = ("--listen", "fd:web", "--metrics", "fd:side")
    server = serve(site, *options, prefix=giving("side", "web"))
    side, web = ports_of(server)
    assert fetch(web, "/digits.txt").body == b"0123456789"
    assert fetch(side, "/live").body == b"live\n"


def test_the_page_of_metrics_is_not_for_clients(serve: Serve, site: Path) -> None:
    """What --metrics names is not listened on for anything else."""
    server = serve(site, "--metrics", "fd:side", prefix=giving("web", "side"))
    web, side = ports_of(server)
    assert fetch(web, "/digits.txt").body == b"0123456789"
    assert fetch(side, "/digits.txt").status == 404


def test_socket_that_nobody_asks_for_is_told_of(serve: Serve, site: Path) -> None:
    """It would look as if somebody listened there."""
    server = serve(site, "--listen", "fd:web", prefix=giving("other", "web"))
    assert "nobody listens on fd:other, which is given" in server.log.read_text()


def test_given_sockets_go_on_with_a_successor(serve: Serve, site: Path) -> None:
    """Another process serves at the same place, and was given it by name."""
    server = serve(site, "--listen", "fd:web", prefix=giving("web"))
    (port,) = ports_of(server)
    os.kill(server.pid, signal.SIGUSR2)
    assert server.process.wait(DEADLINE_S) == 0
    log = server.log.read_text()
    successor = int(log.partition("process ")[2].partition(" ")[0])
    try:
        assert fetch(port, "/digits.txt").body == b"0123456789"
        for pid in (successor, *children(successor)):
            # Of a pipe within the process, as a loop has, both ends are there.
            pipes = [each for each in opened(pid) if each.startswith("pipe:")]
            assert all(pipes.count(each) == 2 for each in pipes)
    finally:
        end(successor)


@pytest.mark.parametrize(
    ("options", "names", "words"),
    [
        pytest.param(("--listen", "fd:web"), "other", "not given", id="a name"),
        pytest.param(("--metrics", "fd:side"), "web", "not given", id="metrics"),
    ],
)
def test_name_that_was_not_given(
    site: Path, options: tuple[str, ...], names: str, words: str
) -> None:
    """It is the operator's mistake, in one line."""
    command = (sys.executable, "-m", "sendfile_server", str(site), *options)
    done = subprocess.run(
        (*giving(names), *command), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("socket(type=socket.SOCK_DGRAM)", "it is no listening stream socket"),
        (
            "create_server((2**32 - 1, 2**32 - 1), family=socket.AF_VSOCK)",
            "it is neither of TCP nor Unix",
        ),
    ],
    ids=["datagrams", "vsock"],
)
def test_socket_of_another_kind_is_refused(site: Path, made: str, words: str) -> None:
    """It is no place for clients."""
    code = GIVE.replace('create_server(("127.0.0.1", 0))', made)
    command = (sys.executable, "-m", "sendfile_server", str(site))
    done = subprocess.run(
        (sys.executable, "-c", code, "web", *command),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith(f"cannot listen on fd:web: {words}\n")


def test_sockets_for_another_process_are_left_alone(serve: Serve, site: Path) -> None:
    """LISTEN_PID tells for whom they are."""
    prefix = ("env", "LISTEN_PID=1", "LISTEN_FDS=1")
    server = serve(site, "--workers", "1", prefix=prefix)
    assert fetch(server.port, "/digits.txt").body == b"0123456789"

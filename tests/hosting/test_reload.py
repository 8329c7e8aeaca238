"""SIGHUP: another configuration, by other workers, and nobody notices."""

import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from running import DEADLINE_S, Serve, end, opened, pass_time, wait_until
from wire import Client, fetch, get

SAME = 'listen = "127.0.0.1:0"\nworkers = 1\n'


class Served:
    """A server with a configuration file, which can be changed."""

    def __init__(self, serve: Serve, site: Path, file: Path) -> None:
        """Start it, with one worker."""
        self._file = file
        file.write_text(SAME)
        self.server = serve(site, "--config", str(file))

    def reload(self, config: str) -> str:
        """Change the file, have it read, and return the line that tells of it."""
        self._file.write_text(config)
        before = len(self.server.log.read_text())
        os.kill(self.server.pid, signal.SIGHUP)

        def told() -> list[str]:
            lines = self.server.log.read_text()[before:].splitlines()
            return [each for each in lines if "reloaded" in each or "stays" in each]

        wait_until(told, "a line")
        return told()[0]

    def replace(self, config: str) -> None:
        """Reload, and wait until the former worker has left.

        It may have accepted somebody who came just when the reload was told of.
        """
        assert "reloaded" in self.reload(config)
        wait_until(lambda: len(self.server.children()) == 1, "the former to leave")


@pytest.fixture
def served(serve: Serve, site: Path, tmp_path: Path) -> Served:
    """Run a server of one worker, whose configuration is a file."""
    return Served(serve, site, tmp_path / "serve.toml")


def feed(fifo: Path, text: str) -> None:
    """Give *text* to whoever reads *fifo* next."""

    def is_read() -> bool:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # not yet
            return False
        os.write(descriptor, text.encode())
        os.close(descriptor)
        return True

    wait_until(is_read, "a reader")


def is_refused(port: int) -> bool:
    """Tell whether nobody listens there."""
    try:
        Client(port).socket.close()
    except ConnectionRefusedError:
        return True
    return False


def test_options_change_and_the_port_stays(served: Served) -> None:
    """Other workers answer by what the file says now; the former ones leave."""
    (former,) = served.server.children()
    port = served.server.port
    assert (
        fetch(port, "/hello.txt").fields["content-type"] == "text/plain; charset=utf-8"
    )

    served.replace(SAME + 'mime-type = "txt=application/x-new"\n')

    assert fetch(port, "/hello.txt").fields["content-type"] == "application/x-new"
    assert former not in served.server.children()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param("workers = 0\n", "expected a whole number", id="a bad value"),
        pytest.param("nothing = 1\n", "no option 'nothing'", id="no option"),
        pytest.param("workers", "is not TOML", id="no TOML"),
        pytest.param("workers = 1" + "0" * 5000, "is not TOML", id="a huge number"),
        pytest.param('listen = "192.0.2.1:1"\n', "no such address", id="not ours"),
        pytest.param('access-log = "/no/log"\n', "cannot write", id="no log"),
        pytest.param('listen = "fd:web"\n', "not given", id="nothing given"),
    ],
)
def test_bad_configuration_is_refused(served: Served, config: str, words: str) -> None:
    """One line tells why, and the same workers go on."""
    workers = served.server.children()

    line = served.reload(config)

    assert "the configuration stays as it was: " in line
    assert words in line
    assert served.server.children() == workers
    assert fetch(served.server.port, "/digits.txt").body == b"0123456789"


def test_program_that_cannot_start_takes_nothing_over(
    served: Served, tmp_path: Path
) -> None:
    """The former process goes on as it was, and can be replaced later."""
    server = served.server
    workers = server.children()
    (tmp_path / "serve.toml").write_text("workers = 0\n")

    os.kill(server.pid, signal.SIGUSR2)
    wait_until(lambda: "could not take over" in server.log.read_text(), "its end")

    assert server.children() == workers
    assert fetch(server.port, "/digits.txt").body == b"0123456789"
    assert "reloaded" in served.reload(SAME)


def test_reload_during_an_upgrade_is_handed_on(served: Served, tmp_path: Path) -> None:
    """Who was asked to read again while another starts has that one do it."""
    server, file = served.server, tmp_path / "serve.toml"
    file.unlink()
    os.mkfifo(file)  # whoever reads it waits for us

    os.kill(server.pid, signal.SIGUSR2)
    wait_until(lambda: "is to take over" in server.log.read_text(), "a successor")
    os.kill(server.pid, signal.SIGHUP)
    feed(file, SAME)
    wait_until(lambda: "has taken over" in server.log.read_text(), "it to serve")
    successor = int(server.log.read_text().partition("process ")[2].partition(" ")[0])
    try:
        feed(file, SAME + 'mime-type = "txt=application/x-new"\n')
        wait_until(
            lambda: (
                fetch(server.port, "/hello.txt").fields["content-type"]
                == "application/x-new"
            ),
            "it to read again",
        )
    finally:
        end(successor)


@pytest.mark.slow
def test_successor_that_says_nothing_is_ended(served: Served, tmp_path: Path) -> None:
    """After a minute the former process gives it up, and goes on as it was."""
    server, file = served.server, tmp_path / "serve.toml"
    file.unlink()
    os.mkfifo(file)  # which nobody ever writes to

    os.kill(server.pid, signal.SIGUSR2)
    wait_until(lambda: "is to take over" in server.log.read_text(), "a successor")
    for _ in range(3):
        pass_time(15)
    assert "could not take over" not in server.log.read_text()
    wait_until(lambda: "could not take over" in server.log.read_text(), "its end")
    assert fetch(server.port, "/digits.txt").body == b"0123456789"

    file.unlink()
    assert "reloaded" in served.reload(SAME)


def test_what_was_opened_for_a_refused_configuration_is_closed(
    served: Served, free_port: int
) -> None:
    """Of two addresses one can't be had; nobody is left waiting at the other."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        descriptors = Path(f"/proc/{served.server.pid}/fd")
        before = len(list(descriptors.iterdir()))
        places = f'["127.0.0.1:{free_port}", "127.0.0.1:{taken}"]'

        line = served.reload(f"listen = {places}\n")

    assert "it is in use" in line
    assert is_refused(free_port)
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize(
    ("spare", "words"),
    [
        pytest.param(2, "cannot start a worker: Too many open files", id="no process"),
        pytest.param(6, "its workers can't start", id="no loop"),
    ],
)
def test_workers_that_cannot_start_change_nothing(
    served: Served, spare: int, words: str
) -> None:
    """Without descriptors for other workers, the former ones go on."""
    server = served.server
    (former,) = server.children()
    used = max(int(each.name) for each in Path(f"/proc/{server.pid}/fd").iterdir())
    limit = used + spare
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))

    line = served.reload(SAME + 'log-level = "debug"\n')

    assert "the configuration stays as it was" in line
    assert words in server.log.read_text()
    assert server.children() == [former]
    assert fetch(server.port, "/digits.txt").body == b"0123456789"


def test_addresses_come_and_go(served: Served, free_port: int, tmp_path: Path) -> None:
    """A new one is listened on, and one that is dropped is free again."""
    port, path = served.server.port, tmp_path / "socket"

    served.reload(SAME.replace('"127.0.0.1:0"', f'["127.0.0.1:0", "unix:{path}"]'))
    assert fetch(port, "/digits.txt").body == b"0123456789"
    assert fetch(str(path), "/digits.txt").body == b"0123456789"

    served.reload(f'listen = "127.0.0.1:{free_port}"\nworkers = 1\n')
    assert fetch(free_port, "/digits.txt").body == b"0123456789"
    wait_until(lambda: is_refused(port), "nobody to listen any more")
    assert not path.exists()


def test_idle_connection_is_answered_once_more(served: Served) -> None:
    """It is not closed just when it may ask, but told that an answer is the last."""
    with Client(served.server.port) as client, Client(served.server.port) as silent:
        assert "connection" not in client.request("/digits.txt").fields
        served.reload(SAME)

        def is_last() -> bool:
            answer = client.request("/digits.txt")
            assert (answer.status, answer.body) == (200, b"0123456789")
            return answer.fields.get("connection") == "close"

        wait_until(is_last, "the worker to hear that it is the former one")
        assert client.is_closed()

        assert silent.request("/digits.txt").body == b"0123456789"


def test_download_goes_on(served: Served, site: Path) -> None:
    """What was promised is sent, however often the configuration changes meanwhile."""
    with (site / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    (former,) = served.server.children()
    with Client(served.server.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(get("/big.bin"))
        client.socket.recv(1, socket.MSG_PEEK)
        served.reload(SAME)
        served.reload(SAME)
        assert former in served.server.children()

        assert client.response().is_complete

    wait_until(lambda: len(served.server.children()) == 1, "the former to leave")


def test_metrics_are_told_to_the_end(served: Served) -> None:
    """Whoever has begun to ask for them is answered by who heard the beginning."""
    config = SAME + 'metrics = "127.0.0.1:0"\n'
    served.reload(config)
    log = served.server.log.read_text()
    port = int(log.rpartition("metrics at 127.0.0.1:")[2].partition(" ")[0])
    assert port != served.server.port
    with Client(port) as client:
        client.send(get("/live")[:10])
        served.reload(config)
        client.send(get("/live")[10:])
        assert client.response().body == b"live\n"


@pytest.mark.slow
def test_pause_of_all_is_nobodys_silence(served: Served, site: Path) -> None:
    """Stopped for longer than a silent worker is let live, all go on as they were."""
    with (site / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    processes = served.server.processes()
    with Client(served.server.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(get("/big.bin"))
        client.socket.recv(1, socket.MSG_PEEK)
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        pass_time(11)
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
        pass_time(2)
        assert served.server.processes() == processes
        assert client.response().is_complete


def test_closed_stderr_is_no_reason_to_end(site: Path, free_port: int) -> None:
    """Whoever closed it wants to hear nothing, but to be served."""
    server = (sys.executable, "-m", "sendfile_server", str(site))
    command = ("sh", "-c", 'exec "$@" 2>&-', "sh", *server, "--port", str(free_port))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        wait_until(lambda: not is_refused(free_port), "it to listen")
        assert fetch(free_port, "/digits.txt").body == b"0123456789"
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_stop_ends_those_who_have_not_left(served: Served) -> None:
    """SIGTERM means former workers too, and idle connections do not keep them."""
    with Client(served.server.port) as client:
        client.request("/digits.txt")
        served.reload(SAME)
        assert len(served.server.children()) == 2

        assert served.server.stop() == 0


def test_logs_change(served: Served, tmp_path: Path) -> None:
    """From the reload on, each goes where the file says, and no old one stays open."""
    first, second = tmp_path / "first", tmp_path / "second"
    port = served.server.port
    served.replace(SAME + f'access-log = "{first}"\n')
    fetch(port, "/1")
    wait_until(first.read_text, "a line")

    served.replace(SAME + f'access-log = "{second}"\n')
    fetch(port, "/2")
    wait_until(second.read_text, "a line")
    assert first.read_text().count("\n") == 1
    for pid in served.server.processes():
        assert str(first) not in opened(pid)


def test_end_of_its_terminal_ends_the_server(site: Path) -> None:
    """SIGHUP of a terminal that is gone is no wish for another configuration."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "sendfile_server", str(site), "--port", "0"]
        os.execv(sys.executable, command)  # noqa: S606 - our own
    said = b""
    while b"Serving" not in said:
        said += os.read(terminal, 4096)
    os.kill(pid, signal.SIGHUP)  # by somebody who is there
    while b"reloaded" not in said:
        said += os.read(terminal, 4096)

    os.close(terminal)

    ended = os.pidfd_open(pid)
    assert select.select([ended], [], [], DEADLINE_S)[0]
    os.close(ended)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

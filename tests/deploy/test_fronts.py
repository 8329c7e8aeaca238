"""Behind HAProxy and Varnish, by the configurations in deploy/."""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import IncompleteRead
from pathlib import Path
from threading import Event
from typing import Protocol

import pytest

from fronts import CLIENT, HOST, JSON, MAIN, PORT, ask, line_of
from running import DEADLINE_S, Serve, Server, children, pass_time, wait_until
from tools import need

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[2] / "deploy"
FOUR = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Front(Protocol):
    """Starts a proxy; see `front`."""

    def __call__(self, *command: str) -> None: ...


@pytest.fixture
def front() -> Iterator[Front]:
    """Run a proxy at our address until the end, ready when returned."""
    with ExitStack() as stack:

        def start(*command: str) -> None:
            need(command[0])
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

            def is_up() -> bool:
                assert process.poll() is None
                try:
                    return ask("/hello.txt").status == 200
                except ConnectionError:
                    return False

            wait_until(is_up, command[0])

        yield start


def test_varnish_asks_again_by_the_tag(
    serve: Serve, front: Front, site: Path, tmp_path: Path
) -> None:
    """It caches, revalidates with a 304, and tells us who its client is."""
    log, vcl = tmp_path / "access.log", tmp_path / "default.vcl"
    server = serve(
        site,
        *("--client-address", "x-forwarded-for", "--trusted-proxy", "127.0.0.1"),
        *("--workers", "1", "--access-log", str(log), *JSON),
    )
    text = (DEPLOY / "varnish" / "default.vcl").read_text()
    text = text.replace('"8080"', f'"{server.port}"').replace("= 10m", "= 1s")
    vcl.write_text(text.replace("beresp.grace = 10s", "beresp.grace = 0s"))
    (tmp_path / "varnish").mkdir()
    front(
        *("varnishd", "-F", "-a", f"{HOST}:{PORT}", "-f", str(vcl), "-T", "none"),
        *("-n", str(tmp_path / "varnish"), "-s", "malloc,16m", "-j", "none"),
    )
    assert ask("/kib.bin").body == (site / "kib.bin").read_bytes()
    line = line_of(log, "/kib.bin")
    assert (line["client"], line["peer"]) == (CLIENT, "127.0.0.1")

    def is_confirmed() -> bool:
        assert ask("/kib.bin").body == (site / "kib.bin").read_bytes()
        return '"status": 304' in log.read_text()

    wait_until(is_confirmed, "the tag to be asked with")


class Replicas:
    """Servers behind a proxy, at the ports that its configuration names."""

    def __init__(self, serve: Serve, site: Path) -> None:
        self._serve = serve
        self._site = site
        self._servers: dict[str, Server] = {}
        self._successors: dict[str, int] = {}
        """The process that went on for a server, if one has."""
        self.options: tuple[str, ...] = ()
        """How the proxy tells of its clients."""

    def start(self, host: str) -> None:
        """Start one, and wait until it is ready."""
        options = ("--trusted-proxy", "127.0.0.0/8", *self.options)
        places = ("--listen", f"{host}:8080", "--metrics", f"{host}:9090")
        server = self._serve(self._site, *options, *places, "--workers", "2")
        self._servers[host] = server

    def upgrade(self, host: str) -> None:
        """Let another process go on for it."""
        server = self._servers[host]
        os.kill(server.pid, signal.SIGUSR2)
        words = " has taken over"
        wait_until(lambda: words in server.log.read_text(), "another process")
        log = server.log.read_text().partition(words)[0]
        self._successors[host] = int(log.rpartition(" ")[2])

    def stop(self, host: str, number: signal.Signals) -> None:
        """End one, and all its workers."""
        server = self._servers.pop(host)
        first = self._successors.pop(host, server.pid)
        ended = [os.pidfd_open(each) for each in (first, *children(first))]
        for process in ended if number is signal.SIGKILL else ended[:1]:
            signal.pidfd_send_signal(process, number)
        for process in ended:
            assert select.select([process], [], [], DEADLINE_S)[0]
            os.close(process)
        server.process.poll()
        if server.process.returncode is None:
            server.stop()  # a proxy may keep idle connections to it for long

    def stop_all(self) -> None:
        """End those that are left."""
        for host in list(self._servers):
            self.stop(host, signal.SIGTERM)


@pytest.fixture
def replicas(serve: Serve, site: Path) -> Iterator[Replicas]:
    """Prepare to run servers of the same files at addresses of their own."""
    prepared = Replicas(serve, site)
    yield prepared
    prepared.stop_all()


def start_haproxy(replicas: Replicas, front: Front, folder: Path) -> None:
    """Run HAProxy with our configuration, before the three."""
    replicas.options = ("--client-address", "proxy")
    for host in FOUR:
        replicas.start(host)
    text = configuration("haproxy/haproxy.cfg")
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("bind :80\n", f"bind {HOST}:{PORT}\n"))
    front("haproxy", "-db", "-f", str(config))


def start_nginx(replicas: Replicas, front: Front, folder: Path) -> None:
    """Run nginx with our configuration, before the three."""
    replicas.options = ("--client-address", "x-forwarded-for", "--etag", "content")
    for host in FOUR:
        replicas.start(host)
    text = configuration("nginx/replicas.conf")
    text = text.replace("listen 80;", f"listen {HOST}:{PORT};")
    config = folder / "nginx.conf"
    config.write_text(MAIN.format(folder=folder, included=text))
    log = str(folder / "nginx.log")
    front("nginx", "-e", log, "-p", str(folder), "-c", str(config))


def configuration(name: str) -> str:
    """Return a configuration of ours, but for the addresses of the three."""
    text = (DEPLOY / name).read_text()
    for number, host in enumerate(FOUR, 1):
        text = text.replace(f"10.0.0.{number}:8080", f"{host}:8080")
    return text


@pytest.mark.slow
@pytest.mark.parametrize("start_proxy", [start_haproxy, start_nginx])
def test_no_request_fails_while_servers_come_and_go(
    replicas: Replicas,
    front: Front,
    tmp_path: Path,
    start_proxy: Callable[[Replicas, Front, Path], None],
) -> None:
    """Each is upgraded, drained and replaced, and no client sees it; one is killed.

    That costs no more than what it was sending: one response for each client.
    """
    start_proxy(replicas, front, tmp_path)
    is_killed, is_over = Event(), Event()

    def load() -> tuple[int, int]:
        count = lost = 0
        while not is_over.is_set():
            for target, size in (("/kib.bin", 1024), ("/mib.bin", 2**20)):
                try:
                    answer = ask(target)
                except (IncompleteRead, ConnectionResetError):
                    assert is_killed.is_set()
                    lost += 1
                else:
                    assert (answer.status, len(answer.body)) == (200, size)
                    count += 1
        return count, lost

    with ThreadPoolExecutor(4) as clients:
        loads = [clients.submit(load) for _ in range(4)]
        try:
            for host in FOUR:
                replicas.upgrade(host)
            for host in FOUR:
                replicas.stop(host, signal.SIGTERM)
                replicas.start(host)
                # Who could not connect to it asks it again after a second.
                pass_time(1.1)
            is_killed.set()
            replicas.stop(FOUR[0], signal.SIGKILL)
            replicas.start(FOUR[0])
        finally:
            is_over.set()
        results = [each.result(60) for each in loads]

    assert all(count > 10 for count, _ in results)
    assert all(lost <= 1 for _, lost in results)

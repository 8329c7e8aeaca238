"""Reloads and upgrades under load, by clients that never try a second time."""

import os
import select
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from running import DEADLINE_S, Serve, Server, pass_time, wait_until
from wire import Client, Response

RELOADS, UPGRADES = 20, 5
pytestmark = [pytest.mark.e2e, pytest.mark.slow]
# Some ask at once again, and some leave their connection idle for a while.
PAUSES = (0.0, 0.0, 0.0, 0.05, 0.3, 1.2)


class Load:
    """Clients that keep their connections until they are told not to."""

    def __init__(self, port: int, pause: float) -> None:
        self._port = port
        self._pause = pause
        self.answers = 0
        self.told_to_leave = 0

    def run(self, is_over: threading.Event) -> None:
        """Ask until it is over; any failure is raised."""
        while not is_over.is_set():
            with Client(self._port) as client:
                while not is_over.is_set():
                    target, size = ("/mib.bin", 1 << 20)
                    if self.answers % 4:
                        target, size = ("/kib.bin", 1 << 10)
                    answer = client.request(target)
                    assert self._is_whole(answer, size)
                    self.answers += 1
                    if answer.fields.get("connection") == "close":
                        self.told_to_leave += 1
                        assert client.is_closed()
                        break
                    pass_time(self._pause)

    @staticmethod
    def _is_whole(answer: Response, size: int) -> bool:
        return answer.status == 200 and answer.is_complete and len(answer.body) == size


class Changing:
    """A server that is reloaded, and replaced by other processes."""

    def __init__(self, server: Server, config: Path) -> None:
        self._log = server.log
        self._config = config
        self.pid = server.pid
        self.former: list[int] = []
        """Descriptors of processes that are to end."""

    def reload(self, turn: int) -> None:
        """Have it read another configuration, and wait until that holds."""
        self._config.write_text(f"port = 0\nkeepalive-requests = {1000 + turn}\n")
        self._tell(signal.SIGHUP, "reloaded: ")

    def upgrade(self) -> None:
        """Have it replaced, and wait until that is done."""
        self.former.append(os.pidfd_open(self.pid))
        line = self._tell(signal.SIGUSR2, " has taken over")
        self.pid = int(line.partition("process ")[2].partition(" ")[0])

    def stop(self) -> None:
        """End the last one, too."""
        self.former.append(os.pidfd_open(self.pid))
        os.kill(self.pid, signal.SIGTERM)

    def has_ended(self) -> bool:
        """Tell whether all that were told to end have."""
        return len(select.select(self.former, [], [], 0)[0]) == len(self.former)

    def _tell(self, number: signal.Signals, words: str) -> str:
        before = len(self._log.read_text())
        os.kill(self.pid, number)

        def lines() -> list[str]:
            new = self._log.read_text()[before:].splitlines(keepends=True)
            return [each for each in new if words in each and each.endswith("\n")]

        wait_until(lines, words)
        return lines()[0]


def test_no_request_is_lost(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Each is answered in full, whatever becomes of the server meanwhile."""
    config = tmp_path / "serve.toml"
    config.write_text("port = 0\n")
    server = serve(site, "--config", str(config), "--workers", "2")
    changing = Changing(server, config)
    loads = [Load(server.port, pause) for pause in PAUSES]
    is_over = threading.Event()
    with ThreadPoolExecutor(len(loads)) as clients:
        running = [clients.submit(load.run, is_over) for load in loads]
        try:
            for turn in range(RELOADS):
                changing.reload(turn)
                if turn % (RELOADS // UPGRADES) == 0:
                    changing.upgrade()
            wait_until(lambda: all(each.told_to_leave for each in loads), "all to go")
        finally:
            is_over.set()
            changing.stop()
        for each in running:
            each.result(60)

    wait_until(changing.has_ended, "all processes to end")
    for descriptor in changing.former:
        os.close(descriptor)
    assert len(changing.former) == UPGRADES + 1
    assert server.process.wait(DEADLINE_S) == 0
    assert sum(each.answers for each in loads) > 1000
    log = server.log.read_text()
    assert log.count("reloaded: ") == RELOADS
    assert "Traceback" not in log
    assert "ended" not in log

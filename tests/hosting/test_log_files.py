"""Log files: appended to, moved away by others, opened again when told to."""

import logging
import os
import signal
from pathlib import Path

import pytest

from running import Serve, opened, wait_until
from sendfile_server.errors import ConfigError
from sendfile_server.hosting.log_files import LogFile, check_log
from wire import fetch


def test_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """What was written is in the file that was moved away, the rest in a new one."""
    path, moved = tmp_path / "log", tmp_path / "log.1"
    path.write_bytes(b"before\n")
    log = LogFile(str(path))
    os.write(log.descriptor, b"old\n")
    path.rename(moved)
    os.write(log.descriptor, b"still old\n")
    log.reopen()
    os.write(log.descriptor, b"new\n")
    os.close(log.descriptor)

    assert moved.read_bytes() == b"before\nold\nstill old\n"
    assert path.read_bytes() == b"new\n"


def test_old_file_stays_without_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If there can be no new file, lines go on to the old one, and the log says so."""
    folder, moved = tmp_path / "logs", tmp_path / "moved"
    folder.mkdir()
    log = LogFile(str(folder / "log"))
    folder.rename(moved)
    with caplog.at_level(logging.ERROR):
        log.reopen()
    os.write(log.descriptor, b"line\n")
    os.close(log.descriptor)

    assert (moved / "log").read_bytes() == b"line\n"
    assert f"cannot write {folder / 'log'}: No such file" in caplog.text


def test_no_file_is_a_mistake_of_the_operator(tmp_path: Path) -> None:
    """A log that can't be opened at the start is refused."""
    with pytest.raises(ConfigError, match="cannot write"):
        LogFile(str(tmp_path / "missing" / "log"))


def test_pipe_that_nobody_reads_is_a_mistake_too(tmp_path: Path) -> None:
    """Nobody waits for its reader to come; with one it is like any file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"cannot write .*pipe: nobody reads there"):
        LogFile(str(path))
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        log = LogFile(str(path))
        assert os.get_blocking(log.descriptor)
        os.write(log.descriptor, b"line\n")
        log.close()
        assert reader.read() == b"line\n"


def test_check_makes_nothing(tmp_path: Path) -> None:
    """What can be had is not had before it is needed."""
    (tmp_path / "old").write_bytes(b"line\n")
    for path in (None, "-", str(tmp_path / "old"), str(tmp_path / "new")):
        check_log(path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"line\n"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "Is a directory"),
        ("missing/log", "missing is not there, or not writable"),
        ("file/log", "Not a directory"),
        ("pipe", "nobody reads there"),
    ],
)
def test_check_says_what_is_in_the_way(tmp_path: Path, name: str, reason: str) -> None:
    """Whatever opening it would not get over."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=f"^cannot write .*{reason}$"):
        check_log(str(tmp_path / name))
    with pytest.raises(ConfigError, match=r"^cannot write "):
        LogFile(str(tmp_path / name))


@pytest.mark.parametrize("workers", [1, 2])
def test_all_processes_open_their_logs_again(
    serve: Serve, site: Path, tmp_path: Path, workers: int
) -> None:
    """At SIGUSR1, the supervisor and each worker leave the files that were moved."""
    names = ("access", "log")
    options = ("--access-log", str(tmp_path / "access"), "--log", str(tmp_path / "log"))
    server = serve(site, *options, "--workers", str(workers))

    def ask() -> None:
        fetch(server.port, "/hello.txt")

    ask()
    wait_until((tmp_path / "access").read_bytes, "the line of the first")
    for name in names:
        (tmp_path / name).rename(tmp_path / f"{name}.1")
    os.kill(server.pid, signal.SIGUSR1)
    processes = [server.pid, *server.children()]

    def have_new_ones() -> bool:
        targets = {target for pid in processes for target in opened(pid)}
        return not targets & {str(tmp_path / f"{name}.1") for name in names}

    wait_until(have_new_ones, "every process to leave the old files")
    ask()
    wait_until((tmp_path / "access").read_bytes, "the line of the second")

    assert server.stop() == 0
    for name in ("access", "access.1"):
        assert (tmp_path / name).read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(("level", "is_told"), [("info", True), ("error", False)])
def test_level_decides_what_is_told(
    serve: Serve, site: Path, tmp_path: Path, level: str, *, is_told: bool
) -> None:
    """A worker that was told to end is worth a line, but no error."""
    log = tmp_path / "log"
    server = serve(site, "--workers", "2", "--log", str(log), "--log-level", level)
    stopped, killed = server.children()
    os.kill(stopped, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{stopped}").exists(), "the end of one")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: "by signal 9" in log.read_text(), "the line of the other")

    assert server.stop() == 0
    assert (f"worker {stopped} ended" in log.read_text()) is is_told
    assert f" ERROR sendfile-serve[{server.process.pid}]: worker" in log.read_text()

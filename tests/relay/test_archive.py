"""The directory of recordings: names, room, and what is removed."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sendfile_server.relay.archive import Archive, File, Share, name_recording
from tools import need

KIB = 1024
ROOM = 64 * KIB
NOW_US = 1_790_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, directory
    os.close(directory)


def name(second: int, number: int = 0) -> str:
    return name_recording(NOW_US + second * 10**6, number) + ".client"


def write(archive: Archive, called: str, size: int) -> None:
    """Write a file from its beginning to its end."""
    file = File(archive, called)
    file.append(bytearray(size), None)
    file.close()


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def share(number: int = 0, workers: int = 1) -> Share:
    return Share(number, workers, ROOM, age=10**9)


def test_names_sort_by_time_and_differ_by_worker() -> None:
    """They say when, which worker, and which process."""
    first, second = name_recording(NOW_US, 3), name_recording(NOW_US + 1, 0)
    assert first == f"20260921T141320.000000Z-3-{os.getpid()}"
    assert first < second < name_recording(NOW_US + 10**6, 0)


def test_oldest_make_room_and_not_more_of_them_than_must(
    folder: tuple[Path, int],
) -> None:
    """One at a time, however they are found."""
    path, directory = folder
    archive = Archive(directory, share())
    for second in range(16):
        write(archive, name(second), 4 * KIB)
    assert names(path) == [name(second) for second in range(16)]
    for second in range(16, 100):
        write(archive, name(second), 1)
        kept = range(second - 15, second + 1)
        assert names(path) == [name(each) for each in kept]


def test_nothing_is_removed_before_there_is_need(folder: tuple[Path, int]) -> None:
    """A recording that takes nearly all stays until another one comes."""
    path, directory = folder
    archive = Archive(directory, share())
    write(archive, name(0), ROOM)
    archive.tidy()
    assert names(path) == [name(0)]
    write(archive, name(1), 1)
    assert names(path) == [name(1)]


def test_each_file_takes_whole_blocks(folder: tuple[Path, int]) -> None:
    """So that files without a byte are bounded, too."""
    path, directory = folder
    archive = Archive(directory, share())
    for second in range(40):
        write(archive, name(second), 0)
    assert len(names(path)) <= ROOM // (4 * KIB)


def test_what_is_being_written_is_never_removed(folder: tuple[Path, int]) -> None:
    """Not even for a newer one, which gets no room then."""
    path, directory = folder
    archive = Archive(directory, share())
    file = File(archive, name(0))
    file.append(bytearray(60 * KIB), None)
    with pytest.raises(OSError, match="all the room"):
        write(archive, name(1), 8 * KIB)
    assert names(path) == [name(0)]
    file.close()
    write(archive, name(2), 8 * KIB)
    assert names(path) == [name(2)]


def test_file_that_grows_beyond_the_room_keeps_what_it_has(
    folder: tuple[Path, int],
) -> None:
    """And is removed like any other once it is finished."""
    path, directory = folder
    archive = Archive(directory, share())
    file = File(archive, name(0))
    file.append(bytearray(60 * KIB), None)
    with pytest.raises(OSError, match="all the room"):
        file.append(bytearray(8 * KIB), None)
    file.close()
    assert (path / name(0)).stat().st_size == 60 * KIB
    write(archive, name(1), 60 * KIB)
    assert names(path) == [name(1)]


def test_what_others_write_is_counted_and_left(folder: tuple[Path, int]) -> None:
    """A lock tells that it is being written."""
    path, directory = folder
    (path / name(0)).write_bytes(bytes(40 * KIB))
    with (path / name(0)).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        archive = Archive(directory, share())
        write(archive, name(1), 20 * KIB)
        write(archive, name(2), 20 * KIB)
        assert names(path) == [name(0), name(2)]
    write(archive, name(3), 20 * KIB)
    assert names(path) == [name(2), name(3)]


def test_room_that_others_made_is_found(folder: tuple[Path, int]) -> None:
    """Whoever takes finished recordings away makes room for more."""
    path, directory = folder
    archive = Archive(directory, share())
    for second in range(4):
        write(archive, name(second), 16 * KIB)
    for second in range(1, 4):
        (path / name(second)).unlink()
    write(archive, name(5), 16 * KIB)
    assert names(path) == [name(0), name(5)]


def test_worker_removes_what_is_of_its_share(folder: tuple[Path, int]) -> None:
    """Also what workers wrote that there are no more."""
    path, directory = folder
    theirs = [name(0, 0), name(1, 2)]
    ours = [name(2, 1), name(3, 5)]
    for each in (*theirs, *ours):
        (path / each).write_bytes(bytes(40 * KIB))
    archive = Archive(directory, share(1, 2))
    write(archive, name(4, 1), 40 * KIB)
    assert names(path) == sorted([*theirs, name(4, 1)])


def test_workers_that_count_at_once_miss_nothing(folder: tuple[Path, int]) -> None:
    """They have inherited one descriptor, which has one position (open(2))."""
    path, directory = folder
    for second in range(1000):
        (path / name(second, second % 2)).write_bytes(b"")
    archives = [Archive(directory, share(number, 2)) for number in range(2)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda each: each.make_room(name(3000), ROOM), archives))
    assert names(path) == []


def test_file_that_is_removed_during_a_count_is_counted_once(
    folder: tuple[Path, int],
) -> None:
    """Else there would seem to be more room than there is."""
    need("strace")
    path, _ = folder
    code = f"""
import os, threading
from pathlib import Path
from sendfile_server.relay.archive import Archive, File, Share
names = {[name(second) for second in range(6)]!r}
directory = os.open({str(path)!r}, os.O_RDONLY)
archive = Archive(directory, Share(0, 1, {ROOM}, 10**9))
def write(name):
    file = File(archive, name)
    file.append(bytearray({ROOM} // 4), None)
    file.close()
for each in names[:4]:
    write(each)
writing = threading.Thread(target=write, args=names[4:5])
writing.start()
while Path({str(path)!r}, names[0]).exists():
    pass
archive.tidy()
writing.join()
write(names[5])
"""
    slow = ("-e", "trace=unlinkat", "-e", "inject=unlinkat:delay_exit=1s")
    command = ("strace", "-f", "-qq", *slow, sys.executable, "-c", code)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "DELAYED" in done.stderr
    assert names(path) == [name(second) for second in range(2, 6)]


def test_old_ones_are_removed_by_when_they_were_written_last(
    folder: tuple[Path, int],
) -> None:
    """Both directions at once, and neither before the other is old enough."""
    path, directory = folder
    archive = Archive(directory, Share(0, 1, ROOM, age=1000))
    for second in range(2):
        for end in ("client", "target"):
            write(archive, name(second).replace("client", end), 1)
            os.utime(path / name(second).replace("client", end), (0, 0))
    os.utime(path / name(1))
    archive.tidy()
    assert names(path) == [name(1), name(1).replace("client", "target")]


def test_what_cannot_be_spliced_is_copied(folder: tuple[Path, int]) -> None:
    """Some file systems take nothing from pipes (splice(2), EINVAL)."""
    need("strace")
    path, _ = folder
    code = f"""
import os, socket
from sendfile_server.relay.archive import Archive, File, Share
from sendfile_server.transport.pipes import Pipe
ours, theirs = socket.socketpair()
theirs.send(b"spliced")
pipe = Pipe(65536)
pipe.fill(ours.fileno())
directory = os.open({str(path)!r}, os.O_RDONLY)
file = File(Archive(directory, Share(0, 1, {ROOM}, 1000)), {name(0)!r})
file.append(bytearray(b"copied, "), pipe)
file.close()
"""
    fault = ("-e", "trace=splice", "-e", "inject=splice:error=EINVAL:when=2+")
    command = ("strace", "-qq", *fault, sys.executable, "-c", code)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr.count("INJECTED") == 1
    assert (path / name(0)).read_bytes() == b"copied, spliced"


def test_file_is_new_and_nobody_elses(folder: tuple[Path, int]) -> None:
    """A link in the way is not followed, and a file is not written to."""
    path, directory = folder
    (path / name(0)).symlink_to("elsewhere")
    (path / name(1)).write_bytes(b"there before")
    archive = Archive(directory, share())
    for second in range(2):
        with pytest.raises(FileExistsError):
            write(archive, name(second), 1)
    write(archive, name(2), 1)
    assert not (path / "elsewhere").exists()
    assert (path / name(1)).read_bytes() == b"there before"
    assert (path / name(2)).stat().st_mode & 0o7777 == 0o600

"""Descriptors and their holders; reading what is there."""

import errno
import os
import threading
from pathlib import Path

import pytest

from sendfile_server.resource.files import (
    Descriptor,
    OpenFile,
    identity_of,
    is_settled,
    read,
)
from sendfile_server.semantics.representations import Representation


def test_descriptor_closes_when_its_last_holder_lets_go() -> None:
    """The other end of a pipe sees the end once no object holds this one."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    first: Descriptor | None = Descriptor(writer)
    second = first
    first = None
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    assert second is not None
    second = None
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_file_outlives_its_opener_while_a_thread_reads_it(tmp_path: Path) -> None:
    """A job that holds the file reads from it after everyone else let go."""
    files = [_open(tmp_path / "file", b"content")]
    number = files[0].descriptor.number
    is_alone, found = threading.Event(), []

    def job(file: OpenFile) -> None:
        is_alone.wait(10)
        found.append(read(file, 0, 7))

    thread = threading.Thread(target=job, args=(files.pop(),))
    thread.start()
    is_alone.set()
    thread.join()
    assert found == [b"content"]
    del thread
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(number)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 10, b"0123456789"),
        (3, 7, b"3456"),
        (9, 10, b"9"),
        (5, 5, b""),
        (8, 20, b"89"),
        (20, 30, b""),
    ],
    ids=["whole", "middle", "last byte", "nothing", "across the end", "beyond"],
)
def test_read_returns_what_there_is(
    tmp_path: Path, start: int, stop: int, expected: bytes
) -> None:
    """The bytes asked for, as far as the file goes."""
    file = _open(tmp_path / "file", b"0123456789")
    assert read(file, start, stop) == expected


def test_read_leaves_the_offset_alone(tmp_path: Path) -> None:
    """Readers of one descriptor don't disturb one another."""
    file = _open(tmp_path / "file", b"0123456789")
    read(file, 0, 10)
    assert os.lseek(file.descriptor.number, 0, os.SEEK_CUR) == 0


@pytest.mark.parametrize(
    ("age_ns", "expected"),
    [
        pytest.param(2 * 10**9, True, id="two seconds"),
        pytest.param(2 * 10**9 - 1, False, id="less"),
        pytest.param(0, False, id="this moment"),
        pytest.param(-(10**9), False, id="the future"),
    ],
)
def test_what_changed_just_now_is_not_settled(age_ns: int, expected: bool) -> None:
    """Another change within a tick of the kernel's clock would not show."""
    now = 1_700_000_000
    assert is_settled((1, 2, 3, 4, now * 10**9 - age_ns), now) is expected


def _open(path: Path, content: bytes) -> OpenFile:
    path.write_bytes(content)
    descriptor = Descriptor(os.open(path, os.O_RDONLY))
    state = os.fstat(descriptor.number)
    representation = Representation(state.st_size, state.st_mtime_ns, b"text/plain")
    identity = identity_of(state)
    return OpenFile(descriptor, representation, b"file", identity, is_remote=False)

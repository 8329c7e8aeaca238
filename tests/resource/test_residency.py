"""Warm and cold, as the kernel tells it and, where it can't, as was sent."""

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from running import wait_until
from sendfile_server.resource.files import (
    Descriptor,
    OpenFile,
    identity_of,
    read,
)
from sendfile_server.resource.residency import Residency
from sendfile_server.semantics.representations import Representation
from tools import give_up

MIB = 1024 * 1024
WINDOW = 65536
_times = itertools.count(1_000_000_000, 100)


def later() -> int:
    """Return a wall second at which all that was seen before is long past."""
    return next(_times)


@pytest.fixture
def file(tmp_path: Path) -> OpenFile:
    """Make 4 MiB on a file system that can tell what is in memory."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 * MIB))
    file = _open(os.open(path, os.O_RDWR))
    try:
        os.preadv(file.descriptor.number, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            give_up("the file system of tmp_path can't tell what is in memory")
        raise
    return file


@pytest.fixture
def untold() -> OpenFile:
    """Make 16 MiB of which no kernel can tell whether they are in memory."""
    # tmpfs refuses RWF_NOWAIT, and a hole has no page that could be counted.
    descriptor = os.memfd_create("untold")
    os.ftruncate(descriptor, 16 * MIB)
    return _open(descriptor)


def test_what_was_read_is_warm(file: OpenFile) -> None:
    """After a read, all of it can be sent at once and read without waiting."""
    content = read(file, 0, 4 * MIB)
    residency = Residency(0)
    assert residency.is_warm(file, 0, 4 * MIB, later())
    assert residency.is_warm(file, 4 * MIB - 1, 4 * MIB, later())
    assert residency.is_warm(file, 4095, 4097, later())
    assert residency.try_read(file, 5, 70_000) == content[5:70_000]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 4 * MIB), (0, 1), (4 * MIB - 1, 4 * MIB), (WINDOW - 1, WINDOW + 1)],
    ids=["whole", "first byte", "last byte", "across windows"],
)
def test_what_was_dropped_is_cold(file: OpenFile, start: int, stop: int) -> None:
    """Pages that the kernel has thrown away are waited for in the pool."""
    _wait_until_cold(file, lambda: not Residency().is_warm(file, start, stop, later()))
    _wait_until_cold(file, lambda: Residency().try_read(file, start, stop) is None)


def test_memory_does_not_overrule_the_kernel(file: OpenFile) -> None:
    """What was sent lately, yet dropped since, is cold where the kernel can tell."""
    residency = Residency()
    residency.note_sent(file, 0, 4 * MIB)
    _wait_until_cold(file, lambda: not residency.is_warm(file, 0, 4 * MIB, later()))
    _wait_until_cold(file, lambda: residency.try_read(file, 0, MIB) is None)


def test_cold_end_makes_a_span_cold(file: OpenFile) -> None:
    """A span is warm only if every page of it is."""
    number = file.descriptor.number

    def is_told() -> bool:
        # Random, so that one byte brings one page and not its neighbours.
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(number, 1, 0)
        return Residency(0).is_warm(file, 0, 4096, later()) and not Residency(
            0
        ).is_warm(file, 0, 4 * MIB, later())

    _wait_until_cold(file, is_told)


def test_what_is_still_being_read_is_cold(file: OpenFile) -> None:
    """Pages that a readahead has only made room for would have to be waited for."""
    number, size = file.descriptor.number, 64 * MIB
    os.pwrite(number, os.urandom(size), 0)
    looks_while_it_reads = 0
    for _ in range(20):
        os.fsync(number)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_WILLNEED)
        # From the end, which comes last.
        for stop in range(size, 0, -MIB):
            is_warm = Residency(0).is_warm(file, stop - MIB, stop, later())
            if is_warm:
                buffer = bytearray(1)
                for page in range(stop - MIB, stop, 4096):
                    os.preadv(number, [buffer], page, os.RWF_NOWAIT)
            looks_while_it_reads += not is_warm
    assert looks_while_it_reads


def test_shrunken_file_is_not_read(file: OpenFile) -> None:
    """What is no longer there can't be returned."""
    read(file, 0, 4 * MIB)
    os.ftruncate(file.descriptor.number, 1000)
    assert Residency().try_read(file, 500, 1500) is None
    assert Residency().try_read(file, 500, 1000) is not None


def test_remote_file_is_never_warm(tmp_path: Path) -> None:
    """Any call on a network file system may wait, whatever is in memory."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    file = _open(os.open(path, os.O_RDONLY), is_remote=True)
    residency = Residency()
    read(file, 0, 7)
    residency.note_sent(file, 0, 7)
    assert not residency.is_warm(file, 0, 7, later())
    assert residency.try_read(file, 0, 7) is None


def test_untold_file_is_warm_once_sent(untold: OpenFile) -> None:
    """Where nobody can tell, what went through memory lately counts as warm."""
    residency = Residency()
    assert not residency.is_warm(untold, 0, 1000, later())
    assert residency.try_read(untold, 0, 1000) is None
    residency.note_sent(untold, 0, 1000)
    assert residency.is_warm(untold, 0, 1000, later())
    assert residency.try_read(untold, 0, 1000) == bytes(1000)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (2 * WINDOW, 4 * WINDOW, True),
        (2 * WINDOW + 7, 4 * WINDOW - 7, True),
        (2 * WINDOW - 1, 3 * WINDOW, False),
        (3 * WINDOW, 4 * WINDOW + 1, False),
        (0, 1, False),
    ],
    ids=["same", "within", "from before", "beyond", "elsewhere"],
)
def test_memory_is_of_the_part_that_was_sent(
    untold: OpenFile, start: int, stop: int, expected: bool
) -> None:
    """One part of a file says nothing of another."""
    residency = Residency()
    residency.note_sent(untold, 2 * WINDOW, 4 * WINDOW)
    assert residency.is_warm(untold, start, stop, later()) is expected


def test_memory_is_of_one_file(untold: OpenFile) -> None:
    """What was sent of one file does not make another warm."""
    other = _open(os.memfd_create("other"))
    os.ftruncate(other.descriptor.number, MIB)
    residency = Residency()
    residency.note_sent(untold, 0, MIB)
    assert residency.is_warm(untold, 0, MIB, later())
    assert not residency.is_warm(other, 0, MIB, later())


def test_memory_is_bounded(untold: OpenFile) -> None:
    """Two generations of the capacity are kept at most, the latest for sure."""
    residency = Residency(capacity=8)
    for window in range(200):
        residency.note_sent(untold, window * WINDOW, window * WINDOW + 1)
        kept = [
            each
            for each in range(window + 1)
            if residency.is_warm(untold, each * WINDOW, each * WINDOW + 1, later())
        ]
        assert kept[-8:] == list(range(max(0, window - 7), window + 1))
        assert len(kept) <= 16


def test_what_was_seen_in_memory_is_not_asked_for_again(file: OpenFile) -> None:
    """For two seconds, for what was seen, and whoever asks; then it is looked at."""
    read(file, 0, 4 * MIB)
    now = later()
    assert Residency().is_warm(file, 0, 2 * MIB, now)
    _wait_until_cold(file, lambda: Residency().try_read(file, 0, 2 * MIB) is None)
    assert Residency().is_warm(file, MIB // 2, MIB + 1, now + 2)
    _wait_until_cold(file, lambda: not Residency().is_warm(file, 0, MIB, later()))


def test_capacity_of_none_remembers_nothing(untold: OpenFile) -> None:
    """With a capacity of 0, what can't be told stays cold."""
    residency = Residency(capacity=0)
    residency.note_sent(untold, 0, MIB)
    assert not residency.is_warm(untold, 0, 1, later())
    assert residency.try_read(untold, 0, 1) is None


def _open(descriptor: int, *, is_remote: bool = False) -> OpenFile:
    state = os.fstat(descriptor)
    representation = Representation(state.st_size, state.st_mtime_ns, b"text/plain")
    identity = identity_of(state)
    return OpenFile(
        Descriptor(descriptor), representation, b"file", identity, is_remote
    )


def _wait_until_cold(file: OpenFile, is_told: Callable[[], bool]) -> None:
    """Make the kernel forget the pages of *file* until *is_told* notices."""
    number = file.descriptor.number

    # Again and again, since looking may start a readahead, and pages that are
    # being read or written stay.
    def is_told_when_dropped() -> bool:
        os.fsync(number)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        return is_told()

    wait_until(is_told_when_dropped, "dropped pages to be told")

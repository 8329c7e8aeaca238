"""Hashing a file in turns: the tag of all of it, whatever becomes of it meanwhile."""

import os
from hashlib import blake2b
from pathlib import Path

import pytest

from sendfile_server.resource.files import Descriptor, OpenFile, identity_of
from sendfile_server.resource.hashing import Hashing
from sendfile_server.semantics.etags import EntityTag
from sendfile_server.semantics.representations import Representation

MIB = 1 << 20


def hashing(path: Path, flags: int = os.O_RDONLY) -> Hashing:
    descriptor = Descriptor(os.open(path, flags))
    state = os.fstat(descriptor.number)
    representation = Representation(state.st_size, state.st_mtime_ns, b"text/plain")
    identity = identity_of(state)
    file = OpenFile(descriptor, representation, b"file", identity, is_remote=False)
    return Hashing(file)


def finish(hashing: Hashing) -> EntityTag:
    """Take the turns that are left."""
    while (tag := hashing.advance()) is None:
        pass
    return tag


def tag_of(content: bytes) -> EntityTag:
    digest = blake2b(content, digest_size=16).hexdigest()
    return EntityTag(b'"%b"' % digest.encode())


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_tag_is_of_the_content(tmp_path: Path, size: int) -> None:
    """Of all of it, however it is read."""
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)

    assert finish(hashing(tmp_path / "file")) == tag_of(content)


def test_big_file_takes_several_turns(tmp_path: Path) -> None:
    """No turn is as long as a file may be."""
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 256 * MIB)
    expected = blake2b(digest_size=16)
    for _ in range(256):
        expected.update(bytes(MIB))
    hashed = hashing(tmp_path / "file")

    assert hashed.advance() is None
    assert finish(hashed).opaque == b'"%b"' % expected.hexdigest().encode()


def test_file_that_has_become_shorter_comes_to_an_end(tmp_path: Path) -> None:
    """What is not there is not waited for."""
    (tmp_path / "file").write_bytes(b"0123456789")
    hashed = hashing(tmp_path / "file")
    os.truncate(tmp_path / "file", 5)

    assert finish(hashed) == tag_of(b"01234")


def test_file_that_grows_comes_to_an_end(tmp_path: Path) -> None:
    """As fast as it may grow: the end is that of the state it was opened in."""
    (tmp_path / "file").write_bytes(bytes(MIB))
    hashed = hashing(tmp_path / "file")
    os.truncate(tmp_path / "file", 1 << 40)

    assert finish(hashed) == tag_of(bytes(MIB))


def test_unreadable_file_raises(tmp_path: Path) -> None:
    """What the file system says goes to whoever began."""
    (tmp_path / "file").write_bytes(b"data")

    with pytest.raises(OSError, match="Bad file descriptor"):
        hashing(tmp_path / "file", os.O_WRONLY).advance()

"""The hash of what is in a file, made in turns so that a big one holds up nobody."""

import os
import time

from sendfile_server.resource.files import OpenFile
from sendfile_server.semantics.etags import EntityTag, hash_content, tag_content

_CHUNK = 1024 * 1024
_TURN_S = 0.05


class Hashing:
    """The hash of one file; used by one thread at a time."""

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self._hash = hash_content()
        self._offset = 0

    def advance(self) -> EntityTag | None:
        """Hash on for a turn; return the tag of all the file once its end is reached.

        Waits for the disk. Raises OSError.
        """
        number, size = self.file.descriptor.number, self.file.representation.size
        buffer = memoryview(bytearray(_CHUNK))
        end = time.monotonic() + _TURN_S
        while self._offset < size:
            if time.monotonic() > end:
                return None
            count = os.preadv(number, [buffer], self._offset)
            if not count:
                break  # it has become shorter, as its state tells
            self._hash.update(buffer[:count])
            self._offset += count
        return tag_content(self._hash)

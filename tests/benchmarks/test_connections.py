import os
import socket

import pytest

from benchmarks.connections import count_each, established, greatest_share

# Columns that nobody looks at are left out at the end.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 0100007F:1F90 0100007F:C351 08 00000000:00000000 00:00000000 00000000     0        0 14 1
   4: 0100007F:1F91 0100007F:C352 01 00000000:00000000 00:00000000 00000000     0        0 15 1
   5: 0100007F:1F90 0100007F:C353 01 00000000:00000000 00:00000000 00000000     0        0 16 1
"""  # noqa: E501 - as the kernel writes it


def test_established_are_those_of_the_server() -> None:
    """Not the listener, not the clients' ends, not another port, not closing ones."""
    assert established(TABLE, 8080) == {12, 16}


def test_connections_are_counted_by_process() -> None:
    """They belong to whoever holds the descriptor."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            assert count_each([os.getpid()], port) == [1]


@pytest.mark.parametrize(
    ("counts", "share"),
    [([0, 32, 32], 0.5), ([0, 48, 16], 0.75), ([0, 0, 64], 1.0)],
)
def test_greatest_share_is_that_of_the_busiest(counts: list[int], share: float) -> None:
    """A supervisor, which has none, does not matter."""
    assert greatest_share(counts) == share

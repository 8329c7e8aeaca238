"""Room in a socket's queue, and calls that wait for it."""

import os
import socket
import threading
import time

import pytest

from running import wait_until
from sendfile_server.transport.lingering import discard
from sendfile_server.transport.room import (
    acknowledged,
    deepen_queue,
    unacknowledged,
    unread,
    waiting,
)
from wire import Pair, fill

MIB = 1024 * 1024


def test_unacknowledged_bytes_shrink_as_the_peer_reads(pair: Pair) -> None:
    """They are the progress of a client too slow to make room."""
    client, peer = pair
    assert unacknowledged(client) == 0
    sent = fill(client)
    before = unacknowledged(client)
    assert 0 < before <= sent
    received = 0
    while received < sent:
        received += len(peer.recv(65536))
    wait_until(lambda: unacknowledged(client) == 0, "the last acknowledgement")


def test_unread_bytes_are_counted_before_they_are_taken(pair: Pair) -> None:
    """Neither nothing nor an end are any."""
    client, peer = pair
    assert unread(client) == 0
    peer.sendall(b"xyz")
    wait_until(lambda: unread(client) == 3, "the bytes")
    client.recv(1)
    assert unread(client) == 2
    client.recv(2)
    peer.close()
    wait_until(lambda: discard(client) is None, "the end")
    assert unread(client) == 0


def test_acknowledged_bytes_grow_as_the_peer_reads(pair: Pair) -> None:
    """They are the progress of a client whose queue is kept full."""
    client, peer = pair
    sent = fill(client)
    before = acknowledged(client)
    assert before < sent
    received = 0
    while received < sent:
        received += len(peer.recv(65536))
    wait_until(lambda: acknowledged(client) >= sent, "the last acknowledgement")
    assert acknowledged(client) <= sent + 1  # as SYN counts, too


def test_deeper_queue_takes_more(pair: Pair) -> None:
    """What is not on its way yet may be so much, where TCP is spoken."""
    client, _ = pair
    deepen_queue(client, 123_456)
    low_water = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert low_water == 123_456
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deepen_queue(ours, 123_456)


def test_call_waits_for_room(pair: Pair) -> None:
    """As soon as the peer reads, it goes on; outside, nothing waits."""
    client, peer = pair
    fill(client)

    def read() -> None:
        while peer.recv(MIB):
            pass

    reader = threading.Timer(0.1, read)
    with waiting(client, 20_000):
        reader.start()
        assert os.write(client.fileno(), bytes(8 * MIB)) == 8 * MIB
    assert not os.get_blocking(client.fileno())
    client.close()
    reader.join()


def test_wait_has_an_end(pair: Pair) -> None:
    """A call that has waited in vain would block, and so it does when it raises."""
    client, _ = pair
    fill(client)
    began = time.monotonic()
    with pytest.raises(BlockingIOError), waiting(client, 100):
        os.write(client.fileno(), b"x")
    assert 0.1 <= time.monotonic() - began < 10
    assert not os.get_blocking(client.fileno())


def test_shutdown_ends_the_wait(pair: Pair) -> None:
    """Whoever gives the client up need not wait for the thread."""
    client, _ = pair
    fill(client)
    timer = threading.Timer(0.1, client.shutdown, (socket.SHUT_RDWR,))
    timer.start()
    began = time.monotonic()
    with pytest.raises(BrokenPipeError), waiting(client, 20_000):
        os.write(client.fileno(), bytes(8 * MIB))
    assert time.monotonic() - began < 10
    timer.join()

"""Ends of connections: orderly, abrupt, and with input that nobody read."""

import os
import socket

import pytest

from running import wait_until
from sendfile_server.transport.lingering import (
    abort,
    discard,
    finish_sending,
)
from wire import Pair, fill

MIB = 1024 * 1024


def test_finishing_shows_the_peer_the_end(pair: Pair) -> None:
    """The peer reads what was sent, then the end, and may still send."""
    client, peer = pair
    client.send(b"answer")
    assert finish_sending(client)
    assert peer.recv(100, socket.MSG_WAITALL) == b"answer"
    peer.sendall(b"more")
    wait_until(lambda: discard(client) == 4, "what the peer sent")


def test_finishing_tells_that_the_client_is_gone(pair: Pair) -> None:
    """After a reset there is nobody to finish for."""
    client, peer = pair
    _reset(peer)
    wait_until(lambda: discard(client) is None, "the reset")
    assert not finish_sending(client)


def test_discarding_counts_what_came(pair: Pair) -> None:
    """A size, 0 for nothing yet, None for the end."""
    client, peer = pair
    assert discard(client) == 0
    peer.sendall(bytes(1000))
    wait_until(lambda: discard(client) == 1000, "what the peer sent")
    assert discard(client) == 0
    peer.close()
    wait_until(lambda: discard(client) is None, "the end")
    assert discard(client) is None


def test_discarding_takes_any_amount_in_bounded_steps(pair: Pair) -> None:
    """However much comes, one call throws away a bounded piece of it."""
    client, peer = pair
    peer.settimeout(0)
    total = sent = 0
    while sent < 2 * MIB:
        try:
            sent += peer.send(bytes(200_000))
        except BlockingIOError:
            count = discard(client)
            assert count is not None
            assert count <= 65536
            total += count
    peer.close()
    while (count := discard(client)) is not None:
        total += count
    assert total == sent


def test_discarding_ends_at_a_reset(pair: Pair) -> None:
    """A client that is gone has no more to say."""
    client, peer = pair
    _reset(peer)
    wait_until(lambda: discard(client) is None, "the reset")


def test_lingering_saves_the_answer_from_unread_input(pair: Pair) -> None:
    """With input unread at the end, the peer still gets every byte."""
    client, peer = pair
    answer = os.urandom(100_000)
    peer.sendall(b"a body that nobody asked for")
    client.sendall(answer)
    assert finish_sending(client)
    wait_until(lambda: discard(client), "the unread input")
    client.close()
    assert _read_all(peer) == answer


def test_aborting_resets(pair: Pair) -> None:
    """The peer is told at once, and what is queued for it is freed."""
    client, peer = pair
    fill(client)
    abort(client)
    client.close()
    with pytest.raises(ConnectionResetError):
        _read_all(peer)


def _read_all(peer: socket.socket) -> bytes:
    pieces = []
    while piece := peer.recv(MIB):
        pieces.append(piece)
    return b"".join(pieces)


def _reset(peer: socket.socket) -> None:
    abort(peer)
    peer.close()

"""Whose word is taken, and how an operator names them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.hosting.trust import address_of, is_trusted
from sendfile_server.options import parse_network


def is_among(peer: object, *networks: str) -> bool:
    """Tell whether *peer* is trusted, given the networks as they are written."""
    return is_trusted(address_of(peer), [parse_network(each) for each in networks])


@pytest.mark.parametrize(
    ("network", "peer", "expected"),
    [
        pytest.param("10.0.0.0/8", ("10.0.0.0", 1), True, id="the first"),
        pytest.param("10.0.0.0/8", ("10.255.255.255", 1), True, id="the last"),
        pytest.param("10.0.0.0/8", ("11.0.0.0", 1), False, id="the next"),
        pytest.param("10.0.0.0/8", ("9.255.255.255", 1), False, id="the one before"),
        pytest.param("192.0.2.1", ("192.0.2.1", 1), True, id="an address"),
        pytest.param("192.0.2.1", ("192.0.2.2", 1), False, id="another"),
        pytest.param("0.0.0.0/0", ("192.0.2.1", 1), True, id="all of IPv4"),
        pytest.param("0.0.0.0/0", ("::1", 1, 0, 0), False, id="IPv6 is not in it"),
        pytest.param("0.0.0.0/0", ("::ffff:1.2.3.4", 1, 0, 0), True, id="mapped"),
        pytest.param("::/0", ("::ffff:1.2.3.4", 1, 0, 0), False, id="mapped is IPv4"),
        pytest.param("::/0", ("1.2.3.4", 1), False, id="nor is IPv4 in IPv6"),
        pytest.param("fe80::/10", ("fe80::1", 1, 0, 3), True, id="whatever the zone"),
        pytest.param("2001:DB8::/32", ("2001:db8:1::", 1, 0, 0), True, id="IPv6"),
        pytest.param(
            "2001:db8::/32", ("2001:db9::", 1, 0, 0), False, id="the next one"
        ),
        pytest.param("unix:", "", True, id="who has no name"),
        pytest.param("unix:", b"\0name", True, id="an abstract name"),
        pytest.param("unix:", "/run/a.sock", True, id="a path"),
        pytest.param("unix:", ("127.0.0.1", 1), False, id="TCP is not Unix"),
        pytest.param("0.0.0.0/0", "", False, id="nor is Unix TCP"),
    ],
)
def test_network_has_peer(network: str, peer: object, expected: bool) -> None:
    """Alone, or after others that don't."""
    assert is_among(peer, network) is expected
    assert is_among(peer, "203.0.113.7", "2001:db8:ffff::/48", network) is expected


@pytest.mark.parametrize("peer", [("127.0.0.1", 1), ("::1", 1, 0, 0), ""])
def test_nobody_is_trusted_unasked(peer: object) -> None:
    """Not even who is on this machine."""
    assert not is_trusted(address_of(peer), ())


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("localhost", id="a name"),
        pytest.param("10", id="a number"),
        pytest.param("10/8", id="the short form"),
        pytest.param("10.0.0.1/8", id="an address in its network"),
        pytest.param("10.0.0.0/33", id="more bits than there are"),
        pytest.param("10.0.0.0/", id="no bits"),
        pytest.param("10.0.0.0/255.0.0.0", id="a mask"),
        pytest.param("10.0.0.0/0.255.255.255", id="a mask the other way round"),
        pytest.param("10.0.0.0/-1", id="a sign"),
        pytest.param("10.0.0.010", id="an octal number"),
        pytest.param("::/129", id="more bits than IPv6 has"),
        pytest.param("fe80::1%lo", id="a zone"),
        pytest.param("fe80::%1/64", id="the network of a zone"),
        pytest.param("[::1]", id="brackets"),
        pytest.param("unix", id="the scheme without its colon"),
        pytest.param("unix:/run/a.sock", id="a path, which clients rarely have"),
        pytest.param(" 10.0.0.0/8", id="a space"),
        pytest.param("10.0.0.0/8,::1", id="two"),
    ],
)
def test_anything_else_is_a_mistake(value: str) -> None:
    """The operator is told what would be right."""
    with pytest.raises(ValueError, match=r"^expected a network such as"):
        parse_network(value)


BITS = st.integers(0, 2**32 - 1)


def written(number: int) -> str:
    """Return the IPv4 address that *number* is."""
    return ".".join(map(str, number.to_bytes(4, "big")))


@given(BITS, st.integers(0, 32), BITS)
@settings(deadline=None)
def test_first_bits_decide(start: int, length: int, other: int) -> None:
    """A network has whoever begins with the same bits, and nobody else."""
    shift = 32 - length
    network = f"{written(start >> shift << shift)}/{length}"
    assert is_among((written(start), 1), network)
    is_same = other >> shift == start >> shift
    assert is_among((written(other), 1), network) is is_same

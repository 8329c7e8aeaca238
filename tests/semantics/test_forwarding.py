"""Who a client is behind proxies, and who can't make us believe otherwise."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendfile_server.semantics.forwarding import (
    IPAddress,
    find_client,
    parse_node,
    split_forwarded,
    split_x_forwarded_for,
)

OURS = ip_network("10.0.0.0/8")


def is_ours(address: IPAddress | None) -> bool:
    """Trust one network, and Unix sockets."""
    return address is None or address in OURS


@pytest.mark.parametrize(
    ("peer", "hops", "client"),
    [
        pytest.param("10.0.0.1", [], "10.0.0.1", id="no hop"),
        pytest.param("10.0.0.1", ["1.2.3.4"], "1.2.3.4", id="one proxy"),
        pytest.param("10.0.0.1", ["1.2.3.4", "10.0.0.2"], "1.2.3.4", id="two proxies"),
        pytest.param("10.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4", id="forged"),
        pytest.param("1.2.3.4", ["6.6.6.6"], "1.2.3.4", id="no proxy of ours"),
        pytest.param("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3", id="all ours"),
        pytest.param("10.0.0.1", ["1.2.3.4", "unknown"], "10.0.0.1", id="unknown"),
        pytest.param("10.0.0.1", ["6.6.6.6", "", "10.0.0.2"], "10.0.0.2", id="empty"),
        pytest.param(None, ["1.2.3.4"], "1.2.3.4", id="by a Unix socket"),
        pytest.param(None, [], None, id="nothing is known"),
        pytest.param("10.0.0.1", ["::ffff:10.0.0.2"], "10.0.0.2", id="mapped"),
        pytest.param("10.0.0.1", ["2001:db8::1"], "2001:db8::1", id="IPv6"),
    ],
)
def test_nearest_that_is_not_ours_is_the_client(
    peer: str | None, hops: list[str], client: str | None
) -> None:
    """What is left of it, anybody may have written."""
    found = find_client(
        ip_address(peer) if peer else None, [hop.encode() for hop in hops], is_ours
    )

    assert found == (ip_address(client) if client else None)


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:1.2.3.4]", "1.2.3.4"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("1.2.3.4:", None),
        ("1.2.3.4:_port", None),
        ("01.2.3.4", None),
        ("1.2.3.4 ", None),
        ("[1.2.3.4", None),
        ("example.com", None),
        ("\u0661.2.3.4", None),
        # A zone may be anything, and means nothing to others (RFC 4007 section 6).
        ("fe80::1%eth0", None),
        ('::1%" 200 5', None),
    ],
)
def test_nodes_are_addresses_or_nothing(node: str, address: str | None) -> None:
    """With a port or without, in brackets or not."""
    assert parse_node(node.encode()) == (ip_address(address) if address else None)


def test_lines_of_x_forwarded_for_are_one() -> None:
    """Each proxy may have written a line of its own."""
    values = [b"a , b", b"\tc"]
    assert split_x_forwarded_for(values) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        # Those of RFC 7239 section 4.
        ('for="_gazonk"', ["_gazonk"]),
        ('For="[2001:db8:cafe::17]:4711"', ["[2001:db8:cafe::17]:4711"]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        ("for=192.0.2.43, for=198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        # And what is less well-formed.
        ("by=a", [""]),
        # Empty elements and pairs are none (RFC 9110 section 5.6.1.2).
        ("", []),
        ("for=a,, \t,for=b,", ["a", "b"]),
        (";for=a;;by=b;", ["a"]),
        (";", [""]),
        (" for=a ; by=b ,\tFOR=c", ["a", "c"]),
        ("for=a;for=b", [""]),
        ("for = a", [""]),
        ("for=a b", [""]),
        ("for=a;", ["a"]),
        (r'for="a\"b\\c"', [r'a"b\c']),
        ('for="a,b;c", for=d', ["a,b;c", "d"]),
        ('for=x, by="', ["x", ""]),
        ('for=6.6.6.6, by=", for="[::1]"', ["6.6.6.6", ""]),
        (r'for=6.6.6.6, by="\", for=1.2.3.4', ["6.6.6.6", ""]),
    ],
)
def test_elements_of_forwarded(value: str, nodes: list[str]) -> None:
    """One node for each element; empty for those that say nothing."""
    assert split_forwarded([value.encode()]) == [node.encode() for node in nodes]


TEXT = st.text(st.sampled_from('for=,;" \\ab6.')).map(str.encode)


@given(
    TEXT, st.sampled_from(["for=1.2.3.4", 'for="[2001:db8::1]"', 'by="x";for=1.2.3.4'])
)
def test_no_client_can_be_another(theirs: bytes, ours: str) -> None:
    """Whatever it wrote before our proxy did, it is itself, or nobody: the proxy."""
    peer, real = (
        ip_address("10.0.0.1"),
        {ip_address("1.2.3.4"), ip_address("2001:db8::1")},
    )
    for values in ([theirs, ours.encode()], [theirs + b", " + ours.encode()]):
        found = find_client(peer, split_forwarded(values), is_ours)
        assert found in {peer, *real}

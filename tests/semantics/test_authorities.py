"""What may stand in Host (RFC 3986 section 3.2, RFC 9110 section 7.2)."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.authorities import is_authority


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"example.org", id="a name"),
        pytest.param(b"EXAMPLE.org", id="a name in capitals"),
        pytest.param(b"example.org.", id="a name with the dot of the root"),
        pytest.param(b"localhost:8080", id="a name with a port"),
        pytest.param(b"localhost:", id="a colon without a port"),
        pytest.param(b"192.0.2.1:80", id="an IPv4 address"),
        pytest.param(b"[::1]", id="an IPv6 address"),
        pytest.param(b"[2001:DB8::1]:443", id="an IPv6 address with a port"),
        pytest.param(b"[::ffff:192.0.2.1]", id="an IPv6 address that ends in IPv4"),
        pytest.param(b"[v1.fe80::a+en1]", id="an address of the future"),
        pytest.param(b"a_b", id="an underscore"),
        pytest.param(b"sub!$&'()*+,;=~x", id="every sub-delim of the grammar"),
        pytest.param(b"caf%C3%a9", id="an escape"),
        pytest.param(b"a:99999", id="more than a port can be is still digits"),
    ],
)
def test_accepts(value: bytes) -> None:
    """These are a host with a port or without."""
    assert is_authority(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b":80", id="a port alone"),
        pytest.param(b"user@example.org", id="userinfo"),
        pytest.param(b"a b", id="a space"),
        pytest.param(b"a/b", id="a slash"),
        pytest.param(b"a\\b", id="a backslash"),
        pytest.param(b"a?b", id="a question mark"),
        pytest.param(b"a#b", id="a number sign"),
        pytest.param(b"a, b", id="two joined by a comma and a space"),
        pytest.param(b"a:b", id="letters for a port"),
        pytest.param(b"a:-1", id="a negative port"),
        pytest.param(b"a:1:2", id="two ports"),
        pytest.param(b"::1", id="an IPv6 address without brackets"),
        pytest.param(b"[::1", id="an open bracket"),
        pytest.param(b"[]", id="empty brackets"),
        pytest.param(b"[::1]x", id="text after the brackets"),
        pytest.param(b"[1::2::3]", id="two gaps in an IPv6 address"),
        pytest.param(b"[12345::]", id="a group of five digits"),
        pytest.param(b"[fe80::1%eth0]", id="a zone"),
        pytest.param(b"[192.0.2.1]", id="IPv4 in brackets"),
        pytest.param(b"[v.x]", id="a future without its version"),
        pytest.param(b"%4", id="a cut escape"),
        pytest.param(b"%zz", id="an escape that is not hex"),
        pytest.param(b"caf\xc3\xa9", id="bytes beyond ASCII"),
        pytest.param(b"a\n", id="a line end at the end"),
        pytest.param(b"a\0", id="NUL"),
        pytest.param(b"<script>", id="angle brackets"),
    ],
)
def test_refuses(value: bytes) -> None:
    """These are no host, and nothing but 400 may come of them."""
    assert not is_authority(value)


@given(st.ip_addresses(v=6).map(IPv6Address), st.integers(0, 65535) | st.none())
@settings(deadline=None, max_examples=50)
def test_every_ipv6_address_is_one(address: IPv6Address, port: int | None) -> None:
    """Both spellings of any IPv6 address are a host, in brackets only."""
    suffix = "" if port is None else f":{port}"
    for spelling in (address.compressed, address.exploded.upper()):
        assert is_authority(f"[{spelling}]{suffix}".encode())
        assert not is_authority(f"{spelling}{suffix}".encode())


FRAGMENTS = st.lists(
    st.sampled_from(
        (
            *(b"a", b"[", b"::1", b"]", b":", b"80", b"%41", b"%", b".", b"@"),
            *(b"/", b"?", b"#", b"\\", b" ", b"\t", b"\r\n", b"\0", b"<", b"\xff"),
        )
    ),
    max_size=6,
).map(b"".join)


@given(FRAGMENTS)
@settings(deadline=None, max_examples=300)
def test_accepts_nothing_that_could_be_misread(value: bytes) -> None:
    """What is accepted holds no byte that would end or split an authority."""
    assert not (is_authority(value) and set(value) & set(b"/?#@\\ \t\r\n\0<\xff"))

"""The PROXY protocol: what a stream begins with, and what we begin one with."""

import socket
from ipaddress import ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sendfile_server.hosting.proxy_protocol import (
    FORMATS,
    MAX_SIZE,
    Header,
    NoHeader,
    Route,
    format_line,
    parse_header,
    route_between,
)

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LONGEST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def route(source: str, destination: str, *ports: int) -> Route:
    """Return the route between two addresses that are written."""
    return Route(ip_address(source), ip_address(destination), *ports)


def binary(version_and_command: int, kind: int, rest: bytes) -> bytes:
    """Return a header of version 2 of these bytes."""
    fixed = bytes((version_and_command, kind, *divmod(len(rest), 256)))
    return SIGNATURE + fixed + rest


FOUR = route("192.168.0.1", "192.168.0.11", 56324, 443)
FOUR_LINE = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
FOUR_ENDS = b"\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb"
FOUR_BINARY = binary(0x21, 0x11, FOUR_ENDS)
SIX = route("2001:db8::1", "2001:db8::2", 65535, 0)
SIX_ENDS = (
    bytes.fromhex("20010db8000000000000000000000001")
    + bytes.fromhex("20010db8000000000000000000000002")
    + b"\xff\xff\0\0"
)
MAPPED = route("::ffff:192.0.2.1", "::ffff:192.0.2.2", 1, 2)
TOP = route("255.255.255.255", "255.255.255.255", 65535, 65535)
TOP_SIX = route(LONGEST, LONGEST, 65535, 65535)

LINES = {
    "the example of the specification": (FOUR_LINE, FOUR),
    "the longest line of IPv4": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        TOP,
    ),
    "the longest line of IPv6": (
        f"PROXY TCP6 {LONGEST} {LONGEST} 65535 65535\r\n".encode(),
        TOP_SIX,
    ),
    "IPv6 in capitals": (
        b"PROXY TCP6 2001:DB8::1 2001:DB8:0:0:0:0:0:2 65535 0\r\n",
        SIX,
    ),
    "IPv4 as inet_ntop writes it in IPv6": (
        b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n",
        MAPPED,
    ),
    "unknown": (b"PROXY UNKNOWN\r\n", None),
    "unknown, and the longest of all": (
        f"PROXY UNKNOWN {LONGEST} {LONGEST} 65535 65535\r\n".encode(),
        None,
    ),
    "unknown, and nonsense": (b"PROXY UNKNOWN  \n\r\0\xff\r\n", None),
}
BINARIES = {
    "IPv4": (FOUR_BINARY, FOUR),
    "IPv6": (binary(0x21, 0x21, SIX_ENDS), SIX),
    "IPv4 and more": (binary(0x21, 0x11, FOUR_ENDS + b"\x04\0\1x"), FOUR),
    "IPv6 and as much as may be": (
        binary(0x21, 0x21, SIX_ENDS.ljust(MAX_SIZE - 16, b"x")),
        SIX,
    ),
    "IPv4 datagrams": (binary(0x21, 0x12, FOUR_ENDS), None),
    "IPv6 datagrams": (binary(0x21, 0x22, SIX_ENDS), None),
    "a Unix stream": (binary(0x21, 0x31, b"/a".ljust(216, b"\0")), None),
    "Unix datagrams": (binary(0x21, 0x32, bytes(216)), None),
    "no family": (binary(0x21, 0x00, b""), None),
    "no family, and something": (binary(0x21, 0x00, b"some"), None),
    "no family of a stream": (binary(0x21, 0x01, b""), None),
    "IPv4 of no protocol": (binary(0x21, 0x10, b""), None),
    "local": (binary(0x20, 0x00, b""), None),
    "local, with addresses": (binary(0x20, 0x11, FOUR_ENDS), None),
    "local of a family that is none": (binary(0x20, 0xFF, b"12"), None),
}
HEADERS = LINES | BINARIES


@pytest.mark.parametrize(("data", "expected"), HEADERS.values(), ids=HEADERS)
def test_header_is_read(data: bytes, expected: Route | None) -> None:
    """What it tells, and how long it is; what follows is left alone."""
    header = Header(len(data), expected)
    assert parse_header(data) == header
    for following in (b"\r\n", b"GET / HTTP/1.1\r\n", data, bytes(5000)):
        assert parse_header(data + following) == header


@pytest.mark.parametrize("data", [each for each, _ in HEADERS.values()], ids=HEADERS)
def test_part_of_a_header_needs_more(data: bytes) -> None:
    """However short, and however long."""
    assert {parse_header(data[:size]) for size in range(len(data))} == {None}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP"),
        pytest.param(b"PUT", id="the first letter of it"),
        pytest.param(b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", id="small letters"),
        pytest.param(b" PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", id="a space before"),
        pytest.param(b"PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n", id="a tab"),
        pytest.param(b"PROXY\r\n", id="nothing said"),
        pytest.param(b"PROXY \r\n", id="no family"),
        pytest.param(b"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", id="two spaces"),
        pytest.param(b"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", id="two spaces later"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", id="a space at the end"),
        pytest.param(b"PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", id="a small family"),
        pytest.param(b"PROXY TCP 1.1.1.1 2.2.2.2 1 2\r\n", id="half a family"),
        pytest.param(b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", id="no such family"),
        pytest.param(b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", id="UDP"),
        pytest.param(b"PROXY UNKNOWNS\r\n", id="another word for unknown"),
        pytest.param(b"PROXY TCP4\r\n", id="no addresses"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", id="one port"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", id="three ports"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", id="a port with a zero"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 00\r\n", id="zero twice"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", id="a port too high"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 99999 1\r\n", id="and the other"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", id="a port with a sign"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 \xb2 2\r\n", id="another digit"),
        pytest.param(b"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n", id="an octal number"),
        pytest.param(b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", id="above a byte"),
        pytest.param(b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", id="three numbers"),
        pytest.param(b"PROXY TCP4 1.1.1.1.1 2.2.2.2 1 2\r\n", id="five numbers"),
        pytest.param(b"PROXY TCP4 ::1 ::2 1 2\r\n", id="IPv6 for IPv4"),
        pytest.param(b"PROXY TCP4 1.1.1.1 ::2 1 2\r\n", id="one of each"),
        pytest.param(b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", id="IPv4 for IPv6"),
        pytest.param(b"PROXY TCP6 ::1 2.2.2.2 1 2\r\n", id="one of the other"),
        pytest.param(b"PROXY TCP6 1::2::3 ::2 1 2\r\n", id="two gaps"),
        pytest.param(b"PROXY TCP6 1:2:3:4:5:6:7 ::2 1 2\r\n", id="seven parts"),
        pytest.param(b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::2 1 2\r\n", id="nine parts"),
        pytest.param(b"PROXY TCP6 12345::1 ::2 1 2\r\n", id="five digits"),
        pytest.param(b"PROXY TCP6 ::g ::2 1 2\r\n", id="no hexadecimal digit"),
        pytest.param(b"PROXY TCP6 fe80::1%lo ::2 1 2\r\n", id="a zone"),
        pytest.param(b"PROXY TCP6 [::1] ::2 1 2\r\n", id="brackets"),
        pytest.param(b"PROXY TCP4 localhost 2.2.2.2 1 2\r\n", id="a name"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n", id="a bare LF"),
        pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", id="a bare CR"),
        pytest.param(b"PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n", id="NUL"),
        pytest.param(b"PROXY ".ljust(107, b"x"), id="107 bytes without an end"),
        pytest.param(b"PROXY UNKNOWN ".ljust(107) + b"\r\n", id="109 bytes"),
        pytest.param(b"PROXY UNKNOWN ".ljust(106) + b"\r\n", id="108 bytes"),
        pytest.param(b"\r\n\r\n\r\n", id="empty lines"),
        pytest.param(SIGNATURE[:-1] + b"\r", id="another signature"),
        pytest.param(binary(0x11, 0x11, FOUR_ENDS), id="version 1"),
        pytest.param(binary(0x31, 0x11, FOUR_ENDS), id="version 3"),
        pytest.param(binary(0x01, 0x11, FOUR_ENDS), id="version 0"),
        pytest.param(binary(0x22, 0x11, FOUR_ENDS), id="command 2"),
        pytest.param(binary(0x2F, 0x11, FOUR_ENDS), id="command 15"),
        pytest.param(binary(0x21, 0x41, bytes(216)), id="family 4"),
        pytest.param(binary(0x21, 0x13, FOUR_ENDS), id="protocol 3"),
        pytest.param(binary(0x21, 0xFF, bytes(216)), id="neither"),
        pytest.param(binary(0x21, 0x11, FOUR_ENDS[1:]), id="less than two of IPv4"),
        pytest.param(binary(0x21, 0x12, b""), id="datagrams of nobody"),
        pytest.param(binary(0x21, 0x21, SIX_ENDS[1:]), id="less than two of IPv6"),
        pytest.param(binary(0x21, 0x31, bytes(215)), id="less than two paths"),
        pytest.param(binary(0x21, 0x11, bytes(MAX_SIZE - 15)), id="too much"),
        pytest.param(
            SIGNATURE + b"\x20\x00\xff\xff", id="the most, if it were to come"
        ),
    ],
)
def test_anything_else_is_no_header(data: bytes) -> None:
    """It is not taken for one, and nobody waits for more of it."""
    found = parse_header(data)
    assert isinstance(found, NoHeader)
    assert found.reason


@pytest.mark.parametrize(
    ("version", "told", "expected"),
    [
        pytest.param("v1", FOUR, FOUR_LINE, id="IPv4 as a line"),
        pytest.param("v2", FOUR, FOUR_BINARY, id="IPv4"),
        pytest.param("v2", SIX, binary(0x21, 0x21, SIX_ENDS), id="IPv6"),
        pytest.param(
            "v1", SIX, b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n", id="a line"
        ),
        pytest.param("v1", None, b"PROXY UNKNOWN\r\n", id="nothing as a line"),
        pytest.param("v2", None, SIGNATURE + b"\x20\x00\x00\x00", id="nothing"),
    ],
)
def test_header_is_written(version: str, told: Route | None, expected: bytes) -> None:
    """To the letter of the specification."""
    assert FORMATS[version](told) == expected


PORTS = st.integers(0, 65535)
ROUTES = st.one_of(
    [
        st.builds(Route, kind, kind, PORTS, PORTS)
        for kind in (st.ip_addresses(v=4), st.ip_addresses(v=6))
    ]
)


@given(st.none() | ROUTES, st.sampled_from([*FORMATS]), st.binary(max_size=20))
@example(TOP_SIX, "v1", b"")
@example(MAPPED, "v1", b"")
@settings(deadline=None, max_examples=200)
def test_what_was_written_is_read(
    told: Route | None, version: str, following: bytes
) -> None:
    """The same route, at the same length; and each part of it needs more."""
    written = FORMATS[version](told)
    assert parse_header(written + following) == Header(len(written), told)
    assert {parse_header(written[:size]) for size in range(len(written))} == {None}


PORT_NUMBERS = {str(number) for number in range(65536)}


def is_address(family: socket.AddressFamily, text: str) -> bool:
    """Ask the C library."""
    try:
        return bool(socket.inet_pton(family, text))
    except OSError:
        return False


def is_line(words: list[str]) -> bool:
    """Tell whether *words* are those of a line, slowly and by other means."""
    match words:
        case ["PROXY", "TCP4" | "TCP6", source, destination, *ports]:
            family = socket.AF_INET if words[1] == "TCP4" else socket.AF_INET6
            return (
                is_address(family, source)
                and is_address(family, destination)
                and len(ports) == 2
                and set(ports) <= PORT_NUMBERS
            )
        case _:
            return words[:2] == ["PROXY", "UNKNOWN"]


WORDS = st.one_of(
    st.sampled_from(["", "PROXY", "TCP4", "TCP6", "UNKNOWN", "00", "01", "+1", "1_0"]),
    st.integers(-1, 70000).map(str),
    st.ip_addresses().map(str),
    st.from_regex(r"\A[0-9a-fA-F]{0,5}(:{1,2}[0-9A-Fa-f]{1,4}){0,7}:{0,2}\Z"),
    st.from_regex(r"\A(::ffff:)?[0-9]{1,3}(\.[0-9]{1,3}){2,4}\Z"),
)


@given(ROUTES, st.integers(0, 5), WORDS)
@settings(deadline=None, max_examples=500)
def test_lines_are_those_of_the_c_library(told: Route, place: int, word: str) -> None:
    """What other programs take for addresses and ports, and nothing else."""
    words = format_line(told).decode().split()
    words[place] = word
    found = parse_header(" ".join(words).encode() + b"\r\n")
    assert isinstance(found, Header if is_line(words) else NoHeader)
    if isinstance(found, Header) and found.route:
        assert found.route.source == ip_address(words[2])
        assert found.route.destination_port == int(words[5])


def check_any(data: bytes) -> None:
    """Check what must hold of any beginning."""
    found = parse_header(data)
    if found is None:
        assert len(data) < MAX_SIZE
        return
    assert parse_header(data + b"x") == found, "what is known stays so"
    if isinstance(found, Header):
        assert found.size <= len(data)


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"!"]),
    st.binary(max_size=300),
)
@settings(deadline=None, max_examples=500)
def test_anything_may_come(start: bytes, rest: bytes) -> None:
    """There is an answer to it, and never an error."""
    check_any(start + rest)


@given(st.sampled_from([*HEADERS]), st.integers(0, 100), st.integers(0, 255))
@settings(deadline=None, max_examples=500)
def test_one_byte_may_be_off(name: str, place: int, byte: int) -> None:
    """A header with a byte changed is another one, or none."""
    data = bytearray(HEADERS[name][0])
    data[place % len(data)] = byte
    check_any(bytes(data))


@pytest.mark.parametrize(
    ("peer", "local", "expected"),
    [
        pytest.param(
            ("192.168.0.1", 56324), ("192.168.0.11", 443), FOUR, id="two of IPv4"
        ),
        pytest.param(
            ("2001:db8::1", 65535, 0, 0),
            ("2001:db8::2", 0, 7, 2),
            SIX,
            id="two of IPv6",
        ),
        pytest.param("", "/run/a.sock", None, id="a Unix socket without a name"),
        pytest.param(b"\0name", "/run/a.sock", None, id="one with an abstract name"),
        pytest.param("/run/b.sock", "/run/a.sock", None, id="one with a path"),
    ],
)
def test_route_of_a_connection(
    peer: object, local: object, expected: Route | None
) -> None:
    """As the addresses say that accept and getsockname give."""
    assert route_between(peer, local) == expected

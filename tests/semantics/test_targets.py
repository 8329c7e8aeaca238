"""Request targets to paths below the root (RFC 9112 section 3.2, RFC 3986)."""

from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.targets import (
    Base,
    Target,
    format_location,
    is_base_path,
    parse_target,
    split_base_path,
)


def parse(raw: bytes, base: Base = ()) -> Target:
    target = parse_target(raw, base)
    assert isinstance(target, Target), f"{raw!r} was refused with {target}"
    return target


@pytest.mark.parametrize(
    ("raw", "path", "names_directory", "query"),
    [
        pytest.param(b"/", b".", True, b"", id="the root"),
        pytest.param(b"/a", b"a", False, b"", id="a file"),
        pytest.param(b"/a/b.txt", b"a/b.txt", False, b"", id="a file in a directory"),
        pytest.param(b"/a/", b"a", True, b"", id="a directory"),
        pytest.param(b"//a///b", b"a/b", False, b"", id="slashes in a row"),
        pytest.param(b"//evil", b"evil", False, b"", id="no network path"),
        pytest.param(b"//evil.example/", b"evil.example", True, b"", id="no authority"),
        pytest.param(b"/./a/./b/.", b"a/b", True, b"", id="single dots"),
        pytest.param(b"/a/../b", b"b", False, b"", id="up and down again"),
        pytest.param(b"/a/b/..", b"a", True, b"", id="up at the end"),
        pytest.param(b"/a/..", b".", True, b"", id="up to the root"),
        pytest.param(b"/a/%2e%2E/b", b"b", False, b"", id="encoded dots go up too"),
        pytest.param(b"/a/%2e/b/.%2e", b"a", True, b"", id="dots half encoded"),
        pytest.param(b"/...", b"...", False, b"", id="three dots are a name"),
        pytest.param(b"/..a", b"..a", False, b"", id="dots before a name"),
        pytest.param(b"/a..", b"a..", False, b"", id="dots after a name"),
        pytest.param(b"/..;/a", b"..;/a", False, b"", id="dots with a parameter"),
        pytest.param(b"/%41%62", b"Ab", False, b"", id="escapes"),
        pytest.param(b"/a%20b", b"a b", False, b"", id="an encoded space"),
        pytest.param(b"/a+b", b"a+b", False, b"", id="a plus is a plus"),
        pytest.param(b"/%2541", b"%41", False, b"", id="decoded only once"),
        pytest.param(b"/%252e%252e/a", b"%2e%2e/a", False, b"", id="no second pass"),
        pytest.param(b"/%c3%a9", b"\xc3\xa9", False, b"", id="UTF-8"),
        pytest.param(b"/%ff", b"\xff", False, b"", id="no UTF-8"),
        pytest.param(b"/%0a", b"\n", False, b"", id="an encoded line end"),
        pytest.param(b"/a%3fb", b"a?b", False, b"", id="an encoded question mark"),
        pytest.param(b"/a%23b", b"a#b", False, b"", id="an encoded number sign"),
        pytest.param(b"/a?", b"a", False, b"?", id="an empty query"),
        pytest.param(b"/a?b=c", b"a", False, b"?b=c", id="a query"),
        pytest.param(b"/a?b?c/../d", b"a", False, b"?b?c/../d", id="a query with dots"),
        pytest.param(b"/?%zz%00", b".", True, b"?%zz%00", id="a query stays raw"),
        pytest.param(b"http://x", b".", True, b"", id="absolute-form without path"),
        pytest.param(b"http://x/a/", b"a", True, b"", id="absolute-form"),
        pytest.param(b"HTTPS://x:1/a?b", b"a", False, b"?b", id="https in capitals"),
        pytest.param(b"http://x?b", b".", True, b"?b", id="absolute-form with a query"),
        pytest.param(b"http://[::1]/a", b"a", False, b"", id="absolute-form by IPv6"),
        pytest.param(b"http://x//evil", b"evil", False, b"", id="slashes after a host"),
    ],
)
def test_points_to(
    raw: bytes, path: bytes, names_directory: bool, query: bytes
) -> None:
    """Decoded once, dot segments resolved, slashes merged."""
    target = parse(raw)

    assert target.path == path
    assert target.names_directory is names_directory
    assert target.query == query


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"/..", 404, id="above the root"),
        pytest.param(b"/../etc/passwd", 404, id="above the root and down"),
        pytest.param(b"/a/../../b", 404, id="above the root by a detour"),
        pytest.param(b"/../a/..", 404, id="above the root and back"),
        pytest.param(b"//..", 404, id="an empty segment is no directory to leave"),
        pytest.param(b"/./..", 404, id="a dot is no directory to leave"),
        pytest.param(b"/%2e%2e/a", 404, id="above the root encoded"),
        pytest.param(b"/%2e./a", 404, id="above the root half encoded"),
        pytest.param(b"/..%2fa", 404, id="an encoded slash after dots"),
        pytest.param(b"http://x/../a", 404, id="above the root in absolute-form"),
        pytest.param(b"/a%2fb", 404, id="an encoded slash"),
        pytest.param(b"/a%2Fb", 404, id="an encoded slash in capitals"),
        pytest.param(b"/a\\b", 404, id="a backslash"),
        pytest.param(b"/..\\a", 404, id="a backslash after dots"),
        pytest.param(b"/a%5cb", 404, id="an encoded backslash"),
        pytest.param(b"/a%00", 400, id="an encoded NUL"),
        pytest.param(b"/a%00/../b", 400, id="an encoded NUL that is left again"),
        pytest.param(b"/a\0", 400, id="a NUL"),
        pytest.param(b"/%", 400, id="an escape without digits"),
        pytest.param(b"/%4", 400, id="an escape cut short"),
        pytest.param(b"/%4/1", 400, id="an escape cut by a slash"),
        pytest.param(b"/%4?1", 400, id="an escape cut by a query"),
        pytest.param(b"/%zz", 400, id="an escape that is not hex"),
        pytest.param(b"/%+1", 400, id="an escape with a sign"),
        pytest.param(b"/%u0041", 400, id="a folk escape"),
        pytest.param(b"/%41%", 400, id="a good escape and a bad one"),
        pytest.param(b"/a#b", 400, id="a fragment"),
        pytest.param(b"/a?b#c", 400, id="a fragment after a query"),
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"*", 400, id="asterisk-form"),
        pytest.param(b"a", 400, id="no slash"),
        pytest.param(b"?a", 400, id="a query alone"),
        pytest.param(b"x:80", 400, id="authority-form"),
        pytest.param(b"http:/a", 400, id="one slash after the scheme"),
        pytest.param(b"http://", 400, id="no authority"),
        pytest.param(b"http:///a", 400, id="an empty authority"),
        pytest.param(b"http://u@x/", 400, id="userinfo"),
        pytest.param(b"http://x#a", 400, id="a fragment after an authority"),
        pytest.param(b"http://x\\a", 400, id="a backslash after an authority"),
        pytest.param(b"ftp://x/a", 400, id="another scheme"),
        pytest.param(b"file:///etc/passwd", 400, id="the scheme of files"),
        pytest.param(b"xhttp://x/a", 400, id="a scheme that ends in http"),
    ],
)
def test_refuses(raw: bytes, status: int) -> None:
    """400 for what is no target, 404 for what can't exist below the root."""
    assert parse_target(raw) == status


@pytest.mark.parametrize(
    ("value", "base"),
    [
        pytest.param("/", (), id="the top"),
        pytest.param("/static/", (b"static",), id="one segment"),
        pytest.param("/a/b.c/", (b"a", b"b.c"), id="two segments"),
        pytest.param("/.well-known/", (b".well-known",), id="a dot before a name"),
        pytest.param("/.../", (b"...",), id="three dots are a name"),
        pytest.param(
            "/a;b=c,d@e:f!$&'()*+~_-/", (b"a;b=c,d@e:f!$&'()*+~_-",), id="all"
        ),
    ],
)
def test_base_path(value: str, base: Base) -> None:
    """A path with a slash at either end is a base, and is that of its own root."""
    assert is_base_path(value)
    assert split_base_path(value) == base
    assert parse(value.encode(), base) == Target((), True, b"", base)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("static/", id="no slash before"),
        pytest.param("/static", id="no slash after"),
        pytest.param("//", id="an empty segment"),
        pytest.param("/a//b/", id="an empty segment inside"),
        pytest.param("/./", id="a dot"),
        pytest.param("/../", id="two dots"),
        pytest.param("/a/../b/", id="two dots inside"),
        pytest.param("/%61/", id="an escape"),
        pytest.param("/a b/", id="a space"),
        pytest.param("/a/?b", id="a query"),
        pytest.param("/a?/", id="a query before the end"),
        pytest.param("/a#/", id="a fragment"),
        pytest.param("/a\\b/", id="a backslash"),
        pytest.param("/\xe9/", id="no ASCII"),
        pytest.param("/a/\n", id="a line end"),
        pytest.param("http://x/a/", id="a URL"),
    ],
)
def test_no_base_path(value: str) -> None:
    """What could be written in two ways is no base."""
    assert not is_base_path(value)


@pytest.mark.parametrize(
    ("raw", "path", "names_directory", "query"),
    [
        pytest.param(b"/s/t/", b".", True, b"", id="the root"),
        pytest.param(b"/s/t", b".", False, b"", id="the root without its slash"),
        pytest.param(b"/s/t?q", b".", False, b"?q", id="a query right after it"),
        pytest.param(b"/s/t/.", b".", True, b"", id="a dot"),
        pytest.param(b"/s/t/a", b"a", False, b"", id="a file"),
        pytest.param(b"/s/t/a/?q", b"a", True, b"?q", id="a directory"),
        pytest.param(b"/s/t/s/t", b"s/t", False, b"", id="the same names below"),
        pytest.param(b"//s//t//a", b"a", False, b"", id="slashes in a row"),
        pytest.param(b"/%73/%74/a", b"a", False, b"", id="escapes"),
        pytest.param(b"/x/../s/./t/a", b"a", False, b"", id="dots before it"),
        pytest.param(b"/s/t/../t/a", b"a", False, b"", id="out and in again"),
        pytest.param(b"/s/t/a/../..", None, True, b"", id="above it"),
        pytest.param(b"/s/t/../a", None, False, b"", id="beside it"),
        pytest.param(b"/s/t/%2e%2e/", None, False, b"", id="above it, encoded"),
        pytest.param(b"/s/t/../../..", None, False, b"", id="above all"),
        pytest.param(b"/", None, False, b"", id="the top"),
        pytest.param(b"/s", None, False, b"", id="half of it"),
        pytest.param(b"/s/", None, False, b"", id="half of it with a slash"),
        pytest.param(b"/t/s/a", None, False, b"", id="its segments turned"),
        pytest.param(b"/s/ta", None, False, b"", id="a name that begins like it"),
        pytest.param(b"/S/t/a", None, False, b"", id="it in capitals"),
        pytest.param(b"/s%2ft/a", None, False, b"", id="an encoded slash in it"),
        pytest.param(b"/s/t%2fa", None, False, b"", id="an encoded slash after it"),
        pytest.param(b"/a?/s/t/a", None, False, b"", id="it in a query"),
    ],
)
@pytest.mark.parametrize("host", [b"", b"http://x"], ids=["origin", "absolute"])
def test_points_below_the_base(
    host: bytes, raw: bytes, path: bytes | None, names_directory: bool, query: bytes
) -> None:
    """Dots are resolved and escapes undone first; what then is outside is 404."""
    target = parse_target(host + raw, (b"s", b"t"))

    if path is None:
        assert target == 404
    else:
        assert isinstance(target, Target)
        assert target.path == path
        assert target.names_directory is names_directory
        assert target.query == query


@pytest.mark.parametrize(
    ("raw", "is_hidden"),
    [
        pytest.param(b"/", False, id="the root"),
        pytest.param(b"/a.b", False, id="a dot inside"),
        pytest.param(b"/.git/config", True, id="a dot directory"),
        pytest.param(b"/a/.env", True, id="a dotfile below"),
        pytest.param(b"/%2eenv", True, id="an encoded dot"),
        pytest.param(b"/...", True, id="three dots"),
        pytest.param(b"/.git/../a", False, id="a dot directory that is left again"),
        pytest.param(b"/.well-known", False, id="the public one"),
        pytest.param(b"/.well-known/acme", False, id="a file in the public one"),
        pytest.param(b"/.well-known/.env", True, id="a dotfile in the public one"),
        pytest.param(b"/.well-known/.well-known", True, id="the public one twice"),
        pytest.param(b"/a/.well-known/acme", True, id="the public one elsewhere"),
        pytest.param(b"/.well-knownx/a", True, id="a name that begins like it"),
        pytest.param(b"/.Well-Known/a", True, id="the public one in capitals"),
        pytest.param(b"/a/../.well-known/b", False, id="the public one by a detour"),
    ],
)
def test_hidden(raw: bytes, is_hidden: bool) -> None:
    """Dotfiles are hidden wherever they are, but for /.well-known/ at the top.

    The top is that of the root: what comes before it hides nothing.
    """
    assert parse(raw).is_hidden is is_hidden
    assert parse(b"/.s" + raw, (b".s",)).is_hidden is is_hidden


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"/", b"/", id="the root"),
        pytest.param(b"/a/b", b"/a/b/", id="a slash at the end"),
        pytest.param(b"//evil.example", b"/evil.example/", id="no network path"),
        pytest.param(b"http://evil.example/a", b"/a/", id="no host"),
        pytest.param(b"/a/../b", b"/b/", id="dots are resolved"),
        pytest.param(b"/a?b/?c=%41&d", b"/a/?b/?c=%41&d", id="a query"),
        pytest.param(b'/a?"<\\%zz^%4', b"/a/?%22%3C%5C%25zz%5E%254", id="what is none"),
        pytest.param(b"/a%20b", b"/a%20b/", id="a space"),
        pytest.param(b"/%0d%0aSet-Cookie:a", b"/%0D%0ASet-Cookie:a/", id="line ends"),
        pytest.param(b"/%25", b"/%25/", id="a percent sign"),
        pytest.param(b"/%3f%23", b"/%3F%23/", id="a question mark"),
        pytest.param(b"/%22%3c", b"/%22%3C/", id="a quote"),
        pytest.param(b"/%c3%a9", b"/%C3%A9/", id="UTF-8"),
        pytest.param(b"/%41-._~!$&'()*+,;=:@", b"/A-._~!$&'()*+,;=:@/", id="safe ones"),
    ],
)
def test_location(raw: bytes, expected: bytes) -> None:
    """That of a directory is absolute, encoded, of this server, and at its base."""
    target = parse(raw)
    assert format_location(target) == expected
    assert format_location(replace(target, base=(b"s", b"t"))) == b"/s/t" + expected


PIECES = st.sampled_from(
    (b"/", b".", b"..", b"a", b"%2e", b"%2F", b"%5c", b"%00", b"%25", b"%", b"%41")
) | st.binary(min_size=1, max_size=1)


@given(st.lists(PIECES, max_size=12).map(b"".join))
@settings(deadline=None, max_examples=500)
def test_nothing_leads_out_of_the_root(tail: bytes) -> None:
    """Any bytes give a path that stays below the root, or 400, or 404.

    And the path of its directory leads back to the same place.
    """
    target = parse_target(b"/" + tail)

    if not isinstance(target, Target):
        assert target in (400, 404)
        return
    for segment in target.segments:
        assert segment not in (b"", b".", b"..")
        assert not set(segment) & set(b"/\\\0")
    location = format_location(target)
    assert location.startswith(b"/")
    assert not location.startswith(b"//")
    assert location.isascii()
    assert replace(parse(location), query=b"") == Target(target.segments, True, b"")
    assert parse_target(b"http://x/" + tail) == target


NAMES = st.binary(min_size=1, max_size=5).filter(
    lambda name: name not in (b".", b"..") and not set(name) & set(b"/\\\0")
)


BASES = st.lists(st.from_regex(r"[a-z;=.-]*[a-z]", fullmatch=True), max_size=3)


@given(BASES, st.lists(PIECES, max_size=12).map(b"".join))
@settings(deadline=None, max_examples=500)
def test_base_changes_nothing_below_it(names: list[str], tail: bytes) -> None:
    """What a target means does not depend on the base, unless dots lead above it."""
    value = "".join(f"/{name}" for name in names) + "/"
    assert is_base_path(value)
    base = split_base_path(value)
    at_top, below = parse_target(b"/" + tail), parse_target(value.encode() + tail, base)

    if isinstance(at_top, Target):
        assert below == replace(at_top, base=base)
        assert isinstance(below, Target)
        location = format_location(below)
        assert location == value.encode() + format_location(at_top)[1:]
        again = parse(location, base)
        assert replace(again, query=b"") == Target(at_top.segments, True, b"", base)
    elif at_top == 400:
        assert below == 400


@given(st.lists(NAMES, max_size=4))
@settings(deadline=None, max_examples=200)
def test_every_directory_can_be_named(segments: list[bytes]) -> None:
    """Whatever a directory is called, its Location decodes to just that."""
    location = format_location(Target(tuple(segments), False, b""))

    assert [unquote_to_bytes(each) for each in location.split(b"/")[1:-1]] == segments
    assert parse(location).segments == tuple(segments)

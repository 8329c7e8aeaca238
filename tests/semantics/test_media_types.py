"""Content-Type by the extension of a file's name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.media_types import (
    UNKNOWN,
    build_table,
    is_media_type,
    media_type_of,
)

TABLE = build_table({})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(b"index.html", b"text/html; charset=utf-8", id="HTML in UTF-8"),
        pytest.param(b"a.js", b"text/javascript; charset=utf-8", id="JavaScript"),
        pytest.param(b"a.mjs", b"text/javascript; charset=utf-8", id="modules"),
        pytest.param(b"a.css", b"text/css; charset=utf-8", id="style sheets"),
        pytest.param(b"a.json", b"application/json", id="JSON has no charset"),
        pytest.param(b"a.svg", b"image/svg+xml", id="SVG"),
        pytest.param(b"a.wasm", b"application/wasm", id="WebAssembly"),
        pytest.param(b"a.woff2", b"font/woff2", id="fonts"),
        pytest.param(b"A.HTML", b"text/html; charset=utf-8", id="capitals"),
        pytest.param(b"a.tar.gz", b"application/gzip", id="the last extension counts"),
        pytest.param(b"a.html.bin", UNKNOWN, id="an extension before the last"),
        pytest.param(b"a.", UNKNOWN, id="an empty extension"),
        pytest.param(b"html", UNKNOWN, id="a name that looks like an extension"),
        pytest.param(b"", UNKNOWN, id="no name"),
        pytest.param(b"a.\xff\xfe", UNKNOWN, id="an extension beyond ASCII"),
        pytest.param(b"a.html ", UNKNOWN, id="a space after the extension"),
    ],
)
def test_type_of_name(name: bytes, expected: bytes) -> None:
    """The last extension decides, whatever its case; nothing known is octets."""
    assert media_type_of(name, TABLE) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("text/x-log", b"text/x-log; charset=utf-8", id="text is UTF-8"),
        pytest.param("text/x;a=b", b"text/x;a=b", id="text with a parameter is kept"),
        pytest.param("application/x", b"application/x", id="no charset on others"),
    ],
)
def test_override_wins(kind: str, expected: bytes) -> None:
    """What the operator says of an extension holds in either case of its letters."""
    table = build_table({"HtMl": kind})

    assert media_type_of(b"a.html", table) == expected
    assert media_type_of(b"a.htm", table) == TABLE[b"htm"]


def test_every_row_can_stand_in_a_response() -> None:
    """No value of the table breaks the grammar, and every key can be found."""
    assert len(TABLE) > 100
    for extension, kind in TABLE.items():
        assert is_media_type(kind.decode())
        assert extension == extension.lower()
        assert b"." not in extension
        assert kind.startswith(b"text/") == kind.endswith(b"; charset=utf-8")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("text/plain", True, id="a type"),
        pytest.param("image/svg+xml", True, id="a suffix"),
        pytest.param("application/vnd.a-b_c.d+e", True, id="every mark of a name"),
        pytest.param("text/plain; charset=utf-8", True, id="a parameter"),
        pytest.param("text/plain \t;\tcharset=utf-8", True, id="blanks"),
        pytest.param("", False, id="nothing"),
        pytest.param("text", False, id="no subtype"),
        pytest.param("text/", False, id="an empty subtype"),
        pytest.param("/plain", False, id="an empty type"),
        pytest.param("text/plain;", False, id="an empty parameter"),
        pytest.param("text/plain/x", False, id="two slashes"),
        pytest.param("text /plain", False, id="a space inside"),
        pytest.param("text/plain charset", False, id="a word after"),
        pytest.param("text/plain\n", False, id="a line end"),
        pytest.param("text/plain;a\r\nSet-Cookie: b", False, id="another field"),
        pytest.param("text/plain;a=é", False, id="beyond ASCII"),
        pytest.param("*/*", False, id="a range of types"),
    ],
)
def test_grammar(value: str, expected: bool) -> None:
    """Only what can stand in Content-Type is a media type."""
    assert is_media_type(value) is expected


@given(st.text(max_size=12), st.binary(max_size=8))
@settings(deadline=None, max_examples=200)
def test_no_media_type_can_split_a_head(suffix: str, name: bytes) -> None:
    """Whatever is accepted is one line, and whatever a file is called has a type."""
    value = "text/x;" + suffix
    if is_media_type(value):
        assert value.isascii()
        assert value.replace("\t", " ").isprintable()
    known = set(TABLE.values()) | {UNKNOWN}
    assert media_type_of(name, TABLE) in known
    assert media_type_of(name + b".css", TABLE) == b"text/css; charset=utf-8"

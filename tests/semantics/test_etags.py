"""Entity tags and lists of them (RFC 9110 sections 8.8.3 and 5.6.1)."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.etags import (
    EntityTag,
    derive_entity_tag,
    hash_content,
    parse_entity_tag,
    parse_entity_tags,
    tag_content,
)

A = EntityTag(b'"a"')
B = EntityTag(b'"b"')
WEAK_A = EntityTag(b'"a"', is_weak=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b'"a"', A, id="a strong tag"),
        pytest.param(b'W/"a"', WEAK_A, id="a weak tag"),
        pytest.param(b'""', EntityTag(b'""'), id="an empty tag"),
        pytest.param(b'"a,b"', EntityTag(b'"a,b"'), id="a comma in quotes"),
        pytest.param(b'"W/a"', EntityTag(b'"W/a"'), id="a W inside the quotes"),
        pytest.param(b'"\\"', EntityTag(b'"\\"'), id="a backslash escapes nothing"),
        pytest.param(b'"!#~"', EntityTag(b'"!#~"'), id="the ends of the grammar"),
        pytest.param(b'"\x80\xff"', EntityTag(b'"\x80\xff"'), id="obs-text"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"a", None, id="no quotes"),
        pytest.param(b"*", None, id="a star"),
        pytest.param(b'"a', None, id="no closing quote"),
        pytest.param(b'a"', None, id="no opening quote"),
        pytest.param(b'w/"a"', None, id="a small w"),
        pytest.param(b'W/ "a"', None, id="a space after the W"),
        pytest.param(b'"a b"', None, id="a space in quotes"),
        pytest.param(b'"a"b"', None, id="a quote in quotes"),
        pytest.param(b'"\x7f"', None, id="DEL"),
        pytest.param(b'"a\tb"', None, id="a tab"),
        pytest.param(b'"a" ', None, id="a space after"),
        pytest.param(b'"a", "b"', None, id="a list"),
    ],
)
def test_one_tag(value: bytes, expected: EntityTag | None) -> None:
    """One tag is read to the letter, or not at all."""
    assert parse_entity_tag(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b'"a"', (A,), id="one"),
        pytest.param(b'"a","b"', (A, B), id="two without a space"),
        pytest.param(b'"a" \t , \t "b"', (A, B), id="two with blanks around the comma"),
        pytest.param(b'W/"a", "b"', (WEAK_A, B), id="a weak one and a strong one"),
        pytest.param(b',, "a" ,,"b",', (A, B), id="empty elements"),
        pytest.param(
            b'"a,b", "b"', (EntityTag(b'"a,b"'), B), id="a comma in quotes is no comma"
        ),
        pytest.param(b'","', (EntityTag(b'","'),), id="a tag that is a comma"),
        pytest.param(b'"\xff", "b"', (EntityTag(b'"\xff"'), B), id="obs-text"),
        pytest.param(b'"a" ', (A,), id="a space after"),
        pytest.param(b"", (), id="nothing"),
        pytest.param(b" , ,", (), id="empty elements alone"),
        pytest.param(b"*", (), id="a star is no tag"),
        pytest.param(b'"a", *', (), id="a star among tags spoils them"),
        pytest.param(b'"a", "b', (), id="a last quote that is open spoils all"),
        pytest.param(b'"a", b', (), id="a bare word spoils all"),
        pytest.param(b'"a" "b"', (), id="no comma between two"),
        pytest.param(b'"a"x, "b"', (), id="text after a tag"),
        pytest.param(b'"a", w/"b"', (), id="a small w spoils all"),
    ],
)
def test_list_of_tags(value: bytes, expected: tuple[EntityTag, ...]) -> None:
    """A list yields all its tags in order, or none if any of it is malformed."""
    assert parse_entity_tags(value) == expected


def test_long_run_of_blanks_costs_no_time() -> None:
    """A list as long as a head may be takes microseconds, not seconds."""
    started = time.process_time()

    assert parse_entity_tags(b'"a",' + b" " * 16000 + b"x") == ()
    # Tried at every division of the run, it took over two seconds.
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("left", "right", "strongly", "weakly"),
    [
        pytest.param(b'W/"1"', b'W/"1"', False, True, id="both weak"),
        pytest.param(b'W/"1"', b'W/"2"', False, False, id="weak and another weak"),
        pytest.param(b'W/"1"', b'"1"', False, True, id="weak and strong"),
        pytest.param(b'"1"', b'W/"1"', False, True, id="strong and weak"),
        pytest.param(b'"1"', b'"1"', True, True, id="both strong"),
        pytest.param(b'"1"', b'"2"', False, False, id="strong and another strong"),
        pytest.param(b'"a"', b'"A"', False, False, id="letters of another case"),
    ],
)
def test_comparison(left: bytes, right: bytes, strongly: bool, weakly: bool) -> None:
    """The table of RFC 9110 section 8.8.3.2, and what is case-sensitive."""
    one, other = parse_entity_tag(left), parse_entity_tag(right)

    assert one is not None
    assert other is not None
    assert one.strongly_matches(other) is strongly
    assert one.weakly_matches(other) is weakly


def test_derived_tag_is_strong_and_readable() -> None:
    """The tag of a file is one that a client can send back."""
    tag = derive_entity_tag(0xABC, 0x10)

    assert tag == EntityTag(b'"abc-10"')
    assert parse_entity_tag(tag.opaque) == tag


STATES = st.tuples(
    st.integers(2**31, 2**31 + 3) | st.integers(2**60, 2**63),
    st.integers(0, 3) | st.integers(0, 2**63),
    st.sampled_from((b"", b"br", b"gzip")),
)


@given(STATES, STATES)
@settings(deadline=None, max_examples=200)
def test_derived_tags_differ_with_their_state(
    one: tuple[int, int, bytes], other: tuple[int, int, bytes]
) -> None:
    """Two states, or two codings of one state, never share a tag."""
    matches = derive_entity_tag(*one).strongly_matches(derive_entity_tag(*other))

    assert matches == (one == other)


OPAQUE = st.lists(
    st.sampled_from([n for n in range(0x21, 0x100) if n not in (0x22, 0x7F)]),
    max_size=6,
).map(lambda codes: b'"' + bytes(codes) + b'"')
TAGS = st.lists(st.builds(EntityTag, OPAQUE, st.booleans()), max_size=6)
SEPARATORS = st.sampled_from((b",", b", ", b"\t,,", b" , \t"))


@given(TAGS, SEPARATORS)
@settings(deadline=None, max_examples=200)
def test_every_list_is_read_back(tags: list[EntityTag], separator: bytes) -> None:
    """Whatever tags are joined, however they are, the same tags come out."""
    value = separator.join(b"W/" * tag.is_weak + tag.opaque for tag in tags)

    assert parse_entity_tags(value) == tuple(tags)
    if len(tags) == 1:
        assert parse_entity_tag(value) == tags[0]


@pytest.mark.parametrize(
    ("content", "tag"),
    [
        pytest.param(b"", b'"cae66941d9efbd404e4d88758ea67670"', id="nothing"),
        pytest.param(b"hello\n", b'"ea41b4de6c03f13a95758b28dd75693e"', id="a line"),
    ],
)
def test_tag_of_content(content: bytes, tag: bytes) -> None:
    """It is what ``b2sum -l 128`` prints, and strong."""
    assert tag_content(hash_content(content)) == EntityTag(tag)


@given(st.lists(st.binary(max_size=9), max_size=4), st.binary(max_size=9))
@settings(deadline=None, max_examples=100)
def test_content_shows_in_the_tag(pieces: list[bytes], other: bytes) -> None:
    """All of it does, in whatever pieces it was hashed, and nothing else."""
    content, hashed = b"".join(pieces), hash_content()
    for piece in pieces:
        hashed.update(piece)

    tag = tag_content(hashed)

    assert tag == tag_content(hash_content(content))
    assert (tag == tag_content(hash_content(other))) is (content == other)
    assert parse_entity_tag(tag.opaque) == tag

"""The validators of a file's state (RFC 9110 section 8.8)."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.etags import EntityTag
from sendfile_server.semantics.preconditions import Validators
from sendfile_server.semantics.representations import (
    NO_VALIDATORS,
    Representation,
    validate_by_state,
)

SECOND = 10**9
SIZE = 5


@pytest.mark.parametrize(
    "mtime_ns",
    [
        pytest.param(0, id="the epoch"),
        pytest.param(SECOND, id="one second"),
        pytest.param(2 * SECOND - 1, id="just under two seconds"),
        pytest.param(-1, id="just before the epoch"),
        pytest.param(-(10**18), id="long before the epoch"),
    ],
)
def test_time_of_reproducible_builds_validates_nothing(mtime_ns: int) -> None:
    """Where all files have one time, two of one size must not share a tag."""
    assert validate_by_state(mtime_ns, SIZE) == NO_VALIDATORS


@pytest.mark.parametrize(
    ("mtime_ns", "modified"),
    [
        pytest.param(2 * SECOND, 2, id="two seconds"),
        pytest.param(3 * SECOND - 1, 2, id="a fraction is rounded down"),
        pytest.param(1_700_000_000 * SECOND, 1_700_000_000, id="a time of today"),
    ],
)
def test_believable_time_gives_both_validators(mtime_ns: int, modified: int) -> None:
    """The date has seconds, the tag has all there is, and is strong."""
    found = validate_by_state(mtime_ns, SIZE)

    assert found.modified == modified
    assert found.entity_tag is not None
    assert not found.entity_tag.is_weak


@given(st.integers(2 * SECOND, 2**63), st.integers(0, 2**63), st.integers(0, 2**63))
@settings(deadline=None, max_examples=100)
def test_change_shows_in_the_tag(mtime_ns: int, size: int, other: int) -> None:
    """A file that got another size or time has another tag."""
    assume(size != other)
    tags = {
        validate_by_state(mtime_ns, size),
        validate_by_state(mtime_ns, other),
        validate_by_state(mtime_ns + 1, size),
    }

    assert len(tags) == 3
    assert NO_VALIDATORS not in tags


@pytest.mark.parametrize(
    ("mtime_ns", "modified"),
    [
        pytest.param(0, None, id="a time of reproducible builds"),
        pytest.param(3 * SECOND - 1, 2, id="a believable time"),
    ],
)
def test_tag_needs_no_believable_time(mtime_ns: int, modified: int | None) -> None:
    """A tag of content is right whatever the time, which is a validator of its own."""
    state = validate_by_state(mtime_ns, SIZE)
    file = Representation(SIZE, mtime_ns, b"text/plain", state)
    tag = EntityTag(b'"a"')

    assert file.tagged(tag) == Representation(
        SIZE, mtime_ns, b"text/plain", Validators(tag, modified)
    )


def test_nothing_validates_what_has_no_tag() -> None:
    """Not even the time that is believable."""
    state = validate_by_state(3 * SECOND, SIZE)
    file = Representation(SIZE, 3 * SECOND, b"text/plain", state)

    assert file.tagged(None).validators == NO_VALIDATORS

"""The fields that an answer may depend on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.requests import KEPT_FIELDS


@given(st.sampled_from(sorted(KEPT_FIELDS)))
@settings(deadline=None)
def test_names_of_kept_fields_can_match(name: bytes) -> None:
    """Names are compared in lower case, so they are kept in lower case, as tokens."""
    assert name == name.lower()
    assert name.replace(b"-", b"").isalpha()


def test_framing_and_connection_are_always_seen() -> None:
    """What ends a message or a connection is never dropped."""
    assert {
        *(b"host", b"connection", b"content-length", b"transfer-encoding"),
        *(b"expect", b"upgrade"),
    } <= KEPT_FIELDS


def test_what_varies_between_clients_only_is_dropped() -> None:
    """A request is remembered whoever sends it."""
    assert KEPT_FIELDS.isdisjoint(
        {b"cookie", b"user-agent", b"referer", b"x-forwarded-for", b"traceparent"}
    )

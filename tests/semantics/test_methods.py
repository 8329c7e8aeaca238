"""Request methods (RFC 9110 section 9)."""

from sendfile_server.semantics.methods import ALLOWED, REGISTERED


def test_what_is_allowed_is_registered() -> None:
    """A method is either served, or known and refused, or unknown."""
    assert set(ALLOWED) <= REGISTERED
    assert {b"POST", b"PUT", b"DELETE", b"PATCH", b"CONNECT", b"TRACE"} <= REGISTERED
    assert {b"get", b"BREW", b""}.isdisjoint(REGISTERED)


def test_methods_that_change_something_are_not_allowed() -> None:
    """Only safe methods reach a file (section 9.2.1)."""
    assert set(ALLOWED) == {b"GET", b"HEAD", b"OPTIONS"}

"""Request methods (RFC 9110 section 9)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.methods import ALLOWED, REGISTERED


@pytest.mark.parametrize(
    ("method", "is_allowed", "is_registered"),
    [
        pytest.param(b"GET", True, True, id="served"),
        pytest.param(b"HEAD", True, True, id="served without its body"),
        pytest.param(b"OPTIONS", True, True, id="asks what is allowed"),
        pytest.param(b"POST", False, True, id="would change something"),
        pytest.param(b"TRACE", False, True, id="would echo"),
        pytest.param(b"CONNECT", False, True, id="is for proxies"),
        pytest.param(b"VERSION-CONTROL", False, True, id="has a dash"),
        pytest.param(b"BREW", False, False, id="is not registered"),
        pytest.param(b"", False, False, id="is no method"),
    ],
)
def test_method_is_served_or_known_or_not(
    method: bytes, is_allowed: bool, is_registered: bool
) -> None:
    """A method is either served, or known and refused, or unknown."""
    assert (method in ALLOWED, method in REGISTERED) == (is_allowed, is_registered)


@given(st.sampled_from(sorted(REGISTERED)), st.integers(0))
@settings(deadline=None)
def test_methods_have_their_case(method: bytes, position: int) -> None:
    """One letter in the other case makes another method (section 9.1)."""
    at = position % len(method)
    other = method[:at] + method[at : at + 1].swapcase() + method[at + 1 :]

    assert (other in REGISTERED) == (other == method)

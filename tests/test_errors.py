"""The errors, by who must act."""

import inspect
import re

import pytest

from sendfile_server import errors
from sendfile_server.errors import (
    ConfigError,
    FileTruncatedError,
    ProtocolError,
    SendfileServerError,
    TransferError,
)

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
WHO_ACTS = (ConfigError, ProtocolError, TransferError)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_one_party_must_act(error: type[Exception]) -> None:
    """Every error but the base belongs to exactly one who acts on it."""
    parties = [party for party in WHO_ACTS if issubclass(error, party)]

    assert issubclass(error, SendfileServerError)
    assert len(parties) == (error is not SendfileServerError)


def test_tree_is_drawn_whole() -> None:
    """The picture at the top of the file has every error, once."""
    picture = errors.__doc__ or ""

    for error in ALL:
        assert len(re.findall(rf"\b{error.__name__}\b", picture)) == 1


def test_errors_carry_what_is_needed_to_act() -> None:
    """A refusal has its status, a truncation what is missing."""
    refusal = ProtocolError(431, "head too large")
    truncation = FileTruncatedError(7)

    assert (refusal.status, str(refusal)) == (431, "head too large")
    assert truncation.missing == 7
    assert "7 bytes" in str(truncation)

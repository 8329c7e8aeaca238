"""``sendfile-probe``: ask for a page, and tell by the exit code whether it is given.

It runs every few seconds, beside a server and often where there is no shell. So it
imports little, and nothing of what serves.
"""

import argparse
import http.client
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import NoReturn

from sendfile_server import __version__
from sendfile_server.options import (
    Address,
    UnixAddress,
    parse_address,
    parse_seconds,
)

_FIELDS = {"User-Agent": f"sendfile-probe/{__version__}", "Connection": "close"}
# The target is in visible ASCII; a fragment is none of the server's (RFC 9110 §4.2.5).
_URL = re.compile(r"(?:http://([^/]+)|(unix:.+?):(?=/))(/[!\"$-~]*)?")
_PORT = re.compile(r":[^\]]*$")


@dataclass(frozen=True, slots=True)
class Page:
    """What to ask for, and where."""

    place: Address
    target: str
    """In origin-form (RFC 9112 §3.2.1)."""


def main() -> NoReturn:
    """Exit with 0 if the page is given, 1 if it is not, 2 if asked for wrongly."""
    asked = _parser().parse_args()
    complaint = probe(asked.page, asked.timeout)
    if complaint:
        sys.stderr.write(f"sendfile-probe: {complaint}\n")
    sys.exit(1 if complaint else 0)


def parse_page(value: str) -> Page:
    """Read ``http://HOST:PORT/PATH`` or ``unix:PATH:/PATH``; ValueError if neither.

    Without a port it is 80 (RFC 9110 §4.2.1).
    """
    match = _URL.fullmatch(value)
    if not match:
        raise ValueError("expected http://HOST:PORT/PATH or unix:PATH:/PATH")
    place = match[1] or match[2]
    if match[1] and not _PORT.search(place):
        place = f"{place}:80"
    return Page(parse_address(place), match[3] or "/")


def probe(page: Page, timeout_s: float) -> str | None:
    """Say what is wrong with *page*; None if it begins to come, with a 2xx, in time."""
    said: list[str | None] = []
    # Whatever holds it up, a resolver or a server that dribbles, is left behind.
    asking = threading.Thread(target=lambda: said.append(_ask(page)), daemon=True)
    asking.start()
    asking.join(timeout_s)
    return said[0] if said else f"no answer within {timeout_s:g} s"


def _ask(page: Page) -> str | None:
    try:
        with closing(_connect(page.place)) as connection:
            connection.request("GET", page.target, headers=_FIELDS)
            status = connection.getresponse().status
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:  # from the codec of names, as for a..b
        return "not a name"
    except http.client.HTTPException:
        return "an answer that is not HTTP"
    return None if 200 <= status < 300 else f"status {status}"


def _connect(place: Address) -> http.client.HTTPConnection:
    if not isinstance(place, UnixAddress):
        return http.client.HTTPConnection(place.host, place.port)
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(place.path)
    return connection


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="sendfile-probe",
        description="Ask for a page; exit with 0 if it is given with a status of 2xx,"
        " else with 1.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "page",
        type=_taking(parse_page),
        metavar="URL",
        help="http://HOST:PORT/PATH or unix:PATH:/PATH",
    )
    parser.add_argument(
        "--timeout",
        type=_taking(parse_seconds),
        default=3.0,
        metavar="S",
        help="for the head of the answer; default: 3",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s, version {__version__}"
    )
    return parser


def _taking(parse: Callable[[str], object]) -> Callable[[str], object]:
    def take(value: str) -> object:
        try:
            return parse(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, not {value!r}") from None

    return take

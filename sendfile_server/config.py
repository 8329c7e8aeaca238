"""Every option, once: its name, default, meaning, and what it accepts.

The command line, the environment and the TOML file are all made from the fields
of `Config`; nothing else names an option.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from sendfile_server.errors import ConfigError
from sendfile_server.semantics.media_types import is_media_type


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where to listen by TCP; *port* 0 lets the kernel choose."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """Where to listen by a Unix socket."""

    path: str


# Names, IPv4, IPv6 with a zone; what it stands for is the resolver's to say.
_HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
# No sign, no underscore, no digits but ASCII's, as int() would take.
_WHOLE_NUMBER = re.compile(r"0*([0-9]+)")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")

Address = TcpAddress | UnixAddress


@dataclass(frozen=True, slots=True)
class Option:
    """How one field of `Config` is asked for."""

    group: str
    metavar: str
    help: str
    default: object
    """A tuple is a list of values, a bool a flag, None is computed or off."""
    parse: Callable[[str], object]
    """Text to value; ValueError says what was expected."""


def _option(
    default: object,
    parse: Callable[[str], object],
    group: str,
    metavar: str,
    help_text: str,
) -> Any:  # noqa: ANN401 - as dataclasses.field, so that the field has its own type
    option = Option(group, metavar, help_text, default, parse)
    return field(default=default, metadata={"option": option})


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("expected an address or a name")
    return value


def _text(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("expected some text")
    return value


def _whole_number(minimum: int, maximum: int = 2**31) -> Callable[[str], int]:
    def parse(value: str) -> int:
        match = _WHOLE_NUMBER.fullmatch(value)
        # int() refuses the longest runs of digits, and 20 are too many already.
        number = int(match[1][:20]) if match else -1
        if not minimum <= number <= maximum:
            bound = f" up to {maximum}" if maximum < 2**31 else " or more"
            raise ValueError(f"expected a whole number of {minimum}{bound}")
        return number

    return parse


def _seconds(value: str) -> float:
    seconds = float(value) if _DECIMAL.fullmatch(value) else 0.0
    if not 0 < seconds < 2**31:
        raise ValueError("expected a number of seconds above 0")
    return seconds


_port = _whole_number(0, 65535)


def _address(value: str) -> Address:
    scheme, colon, path = value.partition(":")
    if scheme == "unix" and colon:
        return UnixAddress(_text(path))
    host, colon, port = value.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    if not _HOST.fullmatch(host) or (":" in host) != is_bracketed:
        raise ValueError("expected HOST:PORT, [IPV6]:PORT or unix:PATH")
    return TcpAddress(host, _port(port))


def _file_name(value: str) -> str:
    if "/" in value or _text(value).startswith("."):
        raise ValueError("expected a file name, without a slash or a leading dot")
    return value


def _media_type(value: str) -> tuple[str, str]:
    extension, equals, kind = value.partition("=")
    extension = extension.removeprefix(".")
    if not equals or not extension or "." in extension or not is_media_type(kind):
        raise ValueError("expected EXT=TYPE, as in log=text/plain")
    return extension, kind


def _flag(value: str) -> bool:
    if value not in ("True", "False"):
        raise ValueError("expected true or false")
    return value == "True"


@dataclass(frozen=True, kw_only=True)
class Config:
    """One validated configuration. Times are in seconds."""

    directory: str
    host: str = _option(
        "127.0.0.1", _host, "Where to listen", "HOST", "Address or name to listen on."
    )
    port: int = _option(
        8080, _port, "Where to listen", "N", "TCP port; 0 picks a free one."
    )
    listen: tuple[Address, ...] = _option(
        (),
        _address,
        "Where to listen",
        "ADDR",
        "HOST:PORT, [IPV6]:PORT or unix:PATH, instead of --host and --port. May be"
        " given more than once.",
    )
    index: str = _option(
        "index.html", _file_name, "What to serve", "NAME", "File to serve for DIR/."
    )
    mime_type: tuple[tuple[str, str], ...] = _option(
        (),
        _media_type,
        "What to serve",
        "EXT=TYPE",
        "Media type of an extension. May be given more than once.",
    )
    freshness: int = _option(
        1,
        _whole_number(0),
        "What to serve",
        "S",
        "Seconds for which what was found on disk may be remembered; 0 looks every"
        " time.",
    )
    memory: int = _option(
        64,
        _whole_number(1, 2**20),
        "How much to use",
        "MIB",
        "Memory of each worker for what it remembers, in MiB.",
    )
    no_memory: bool = _option(
        default=False,
        parse=_flag,
        group="What to serve",
        metavar="",
        help_text="Remember nothing from one request to the next.",
    )
    access_log: str | None = _option(
        None,
        _text,
        "What to tell",
        "FILE",
        "Append a line for every response, in the combined format; - is stdout.",
    )
    workers: int | None = _option(
        None,
        _whole_number(1, 1024),
        "How much to use",
        "N",
        "Processes. Default: the CPUs that may be used, at most 4.",
    )
    threads: int = _option(
        4,
        _whole_number(1, 1024),
        "How much to use",
        "N",
        "Threads of each listener's pool, for disks and for long transfers.",
    )
    max_connections: int = _option(
        8192,
        _whole_number(1),
        "How much to use",
        "N",
        "Connections at once, over all workers; more wait to be accepted.",
    )
    header_timeout: float = _option(
        60.0, _seconds, "How long to wait", "S", "For a whole request head."
    )
    keepalive_timeout: float = _option(
        75.0, _seconds, "How long to wait", "S", "For the next request."
    )
    send_timeout: float = _option(
        60.0, _seconds, "How long to wait", "S", "For a client to take some more."
    )
    keepalive_requests: int = _option(
        1000, _whole_number(1), "How long to wait", "N", "Requests per connection."
    )
    grace: int = _option(
        30,
        _whole_number(0),
        "How long to wait",
        "S",
        "To finish what is being sent when told to stop.",
    )

    def __post_init__(self) -> None:
        if not self.directory or "\0" in self.directory:
            raise ConfigError("cannot serve a directory without a name")
        if self.listen and (self.host, self.port) != (Config.host, Config.port):
            raise ConfigError("--listen replaces --host and --port: use one or other")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where to listen."""
        return self.listen or (TcpAddress(self.host, self.port),)


def options() -> dict[str, Option]:
    """Return every option by the name of its field, in the order of the help."""
    return {
        each.name: each.metadata["option"]
        for each in fields(Config)
        if "option" in each.metadata
    }

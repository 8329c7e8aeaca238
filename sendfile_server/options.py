"""What an option is, and how values are read that options of several commands take."""

import grp
import pwd
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal

GROUPS = (
    "Where to listen",
    "Where to forward",
    "Behind a proxy",
    "What to serve",
    "How to forward",
    "What to record",
    "How much to use",
    "How long to wait",
    "What to tell",
)
"""The headings of the help, in its order."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A place of TCP; to listen at port 0 lets the kernel choose one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The file of a Unix socket."""

    path: str


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect to a Unix socket that we listen on."""

    mode: int | None = None
    """As of chmod(2); None is what the umask allows."""
    owner: tuple[int, int] | None = None
    """Of its file, user and group, as chown(2) takes them; None is who we are."""


@dataclass(frozen=True, slots=True)
class GivenSocket:
    """A socket that whoever started us listens on already, by its name."""

    name: str


# Names, IPv4, IPv6 with a zone; what it stands for is the resolver's to say.
HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
# No sign, no underscore, no digits but ASCII's, as int() would take.
_WHOLE_NUMBER = re.compile(r"0*([0-9]+)")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# No zone, which no comparison heeds; a mask only as its length.
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]+)?")
# The leading zero is a must: TOML reads 0o660 as 432, which is octal for another mode.
_MODE = re.compile(r"0[0-7]{3}")

# As systemd.socket(5) has it for FileDescriptorName=.
_SOCKET_NAME = re.compile(r"[!-9;-~]{1,255}")

Address = TcpAddress | UnixAddress

Entrance = Address | GivenSocket
"""Where clients come in."""

Network = IPv4Network | IPv6Network | Literal["unix:"]
"""From where someone connects; the last is whoever comes by a Unix socket."""


@dataclass(frozen=True, slots=True)
class Option:
    """How one field of a configuration is asked for."""

    group: str
    """One of `GROUPS`."""
    metavar: str
    help: str
    default: object
    """A tuple is a list of values, a bool a flag, None is computed or off."""
    parse: Callable[[str], object]
    """Text to value; ValueError says what was expected."""


def option(
    default: object,
    parse: Callable[[str], object],
    group: str,
    metavar: str,
    help_text: str,
) -> Any:  # noqa: ANN401 - as dataclasses.field, so that the field has its own type
    stated = Option(group, metavar, help_text, default, parse)
    return field(default=default, metadata={"option": stated})


def argument(
    metavar: str, parse: Callable[[str], object], default: object = MISSING
) -> Any:  # noqa: ANN401 - as `option`
    """State a field that is given by its place; without *default* it must be given."""
    stated = Option("", metavar, "", default, parse)
    return field(default=default, metadata={"argument": stated})


def parse_text(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("expected some text")
    return value


def one_of(*values: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(f"expected {', '.join(values[:-1])} or {values[-1]}")
        return value

    return parse


def whole_number(minimum: int, maximum: int = 2**31) -> Callable[[str], int]:
    def parse(value: str) -> int:
        match = _WHOLE_NUMBER.fullmatch(value)
        # int() refuses the longest runs of digits, and 20 are too many already.
        number = int(match[1][:20]) if match else -1
        if not minimum <= number <= maximum:
            raise ValueError(f"expected a whole number of {minimum} up to {maximum}")
        return number

    return parse


def parse_seconds(value: str) -> float:
    number = float(value) if _DECIMAL.fullmatch(value) else 0.0
    if not 0 < number < 2**31:
        raise ValueError("expected a number of seconds above 0 and below 2147483648")
    return number


parse_port = whole_number(0, 65535)


def parse_address(value: str) -> Address:
    scheme, colon, path = value.partition(":")
    if scheme == "unix" and colon:
        return UnixAddress(parse_text(path))
    host, colon, port = value.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    if not HOST.fullmatch(host) or (":" in host) != is_bracketed:
        raise ValueError("expected HOST:PORT, [IPV6]:PORT or unix:PATH")
    return TcpAddress(host, parse_port(port))


def parse_entrance(value: str) -> Entrance:
    scheme, _, name = value.partition(":")
    if scheme == "fd" and _SOCKET_NAME.fullmatch(name):
        return GivenSocket(name)
    try:
        return parse_address(value)
    except ValueError as error:
        raise ValueError(f"{error}, or fd:NAME") from None


def describe(place: Entrance) -> str:
    """Return *place* as `parse_entrance` reads it."""
    if isinstance(place, UnixAddress):
        return f"unix:{place.path}"
    if isinstance(place, GivenSocket):
        return f"fd:{place.name}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"{host}:{place.port}"


def parse_network(value: str) -> Network:
    if value == "unix:":
        return "unix:"
    expected = "expected a network such as 10.0.0.0/8, an address or unix:"
    if not _NETWORK.fullmatch(value):
        raise ValueError(expected)
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(expected) from None


def parse_mode(value: str) -> int:
    if not _MODE.fullmatch(value):
        raise ValueError("expected an octal mode such as 0660, in TOML in quotes")
    return int(value, 8)


def parse_owner(value: str) -> tuple[int, int]:
    """Return the numbers of USER[:GROUP] as chown(1) does; -1 is one not given."""
    expected = "expected USER, USER:GROUP or :GROUP, by number or as known here"
    user, colon, group = value.partition(":")
    if not value or bool(colon) is not bool(group):
        raise ValueError(expected)
    try:
        return (
            _find_number(user, lambda name: pwd.getpwnam(name).pw_uid),
            _find_number(group, lambda name: grp.getgrnam(name).gr_gid),
        )
    except ValueError:
        raise ValueError(expected) from None


def _find_number(name: str, look_up: Callable[[str], int]) -> int:
    if not name:
        return -1
    try:
        return look_up(name)
    except KeyError:
        # 2**32 - 1 is -1 to the kernel.
        return whole_number(0, 2**32 - 2)(name)


def parse_flag(value: str) -> bool:
    if value not in ("True", "False"):
        raise ValueError("expected true or false")
    return value == "True"


def options(config_type: type) -> dict[str, Option]:
    """Return the options of a configuration by field, in the order of the fields."""
    return _stated(config_type, "option")


def arguments(config_type: type) -> dict[str, Option]:
    """Return what is given by its place, in the order of the places."""
    return _stated(config_type, "argument")


def _stated(config_type: type, kind: str) -> dict[str, Option]:
    return {
        each.name: each.metadata[kind]
        for each in fields(config_type)
        if kind in each.metadata
    }

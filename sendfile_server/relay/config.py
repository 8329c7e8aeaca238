"""Every option of ``splice-relay``, once."""

from dataclasses import dataclass

from sendfile_server.config import Common
from sendfile_server.errors import ConfigError
from sendfile_server.hosting.proxy_protocol import FORMATS
from sendfile_server.options import (
    Address,
    Entrance,
    TcpAddress,
    argument,
    describe,
    one_of,
    option,
    parse_address,
    parse_entrance,
    parse_flag,
    parse_seconds,
    parse_text,
    whole_number,
)


@dataclass(frozen=True, slots=True)
class Forward:
    """Where to listen, and where to connect for each who comes."""

    listen: Entrance
    target: Address


def _parse_forward(value: str) -> Forward:
    listen, equals, target = value.partition("=")
    if not equals:
        raise ValueError("expected LISTEN=TARGET")
    return Forward(parse_entrance(listen), parse_address(target))


@dataclass(frozen=True, kw_only=True)
class RelayConfig(Common):
    """One validated configuration of ``splice-relay``. Times are in seconds."""

    listen: Entrance | None = argument("LISTEN", parse_entrance, None)  # noqa: RUF009 - a field
    target: Address | None = argument("TARGET", parse_address, None)  # noqa: RUF009 - a field
    forward: tuple[Forward, ...] = option(
        (),
        _parse_forward,
        "Where to forward",
        "LISTEN=TARGET",
        "As the arguments. May be given more than once, and beside them.",
    )
    pipe_size: int = option(
        1024,
        whole_number(4, 2**20),
        "How to forward",
        "KIB",
        "Size of a pipe in KiB, within what the system allows.",
    )
    no_splice: bool = option(
        default=False,
        parse=parse_flag,
        group="How to forward",
        metavar="",
        help_text="Copy always, through memory of our own.",
    )
    accept_proxy: bool = option(
        default=False,
        parse=parse_flag,
        group="Behind a proxy",
        metavar="",
        help_text="Demand a PROXY header, of version 1 or 2, of each connection.",
    )
    send_proxy: str | None = option(
        None,
        one_of(*FORMATS),
        "How to forward",
        "VERSION",
        "Begin each connection with a PROXY header, v1 or v2, that tells the target"
        " whose it is.",
    )
    record: str | None = option(
        None,
        parse_text,
        "What to record",
        "DIR",
        "All that is forwarded, in two files for each connection in DIR.",
    )
    record_size: int = option(
        1024,
        whole_number(1),
        "What to record",
        "MIB",
        "What recordings may take, in MiB; the oldest are removed.",
    )
    record_age: float = option(
        604800.0,
        parse_seconds,
        "What to record",
        "S",
        "For how long recordings are kept, in seconds.",
    )
    connect_timeout: float = option(
        10.0,
        parse_seconds,
        "How long to wait",
        "S",
        "For the target to accept, at each address of its name.",
    )
    idle_timeout: float = option(
        3600.0, parse_seconds, "How long to wait", "S", "For anything to move."
    )
    half_closed_timeout: float = option(
        60.0,
        parse_seconds,
        "How long to wait",
        "S",
        "For anything to move once one side has said that it sends no more.",
    )

    progress: bool = option(
        default=False,
        parse=parse_flag,
        group="What to tell",
        metavar="",
        help_text="Show on a terminal how much is moving.",
    )

    def __post_init__(self) -> None:
        if (self.listen is None) is not (self.target is None):
            raise ConfigError("LISTEN needs a TARGET")
        if not self.forwards:
            raise ConfigError(
                "nothing to forward: give LISTEN and TARGET, or --forward"
            )
        if self.accept_proxy and not self.trusted_proxy:
            raise ConfigError("--accept-proxy needs a --trusted-proxy to believe")
        if self.trusted_proxy and not self.accept_proxy:
            raise ConfigError("--trusted-proxy is for --accept-proxy, which is not set")
        for each in self.forwards:
            if isinstance(each.target, TcpAddress) and each.target.port == 0:
                host = each.target.host
                raise ConfigError(f"cannot connect to {host}: port 0 is none")
            if each.listen == each.target:
                where = describe(each.target)
                raise ConfigError(f"cannot forward {where} to itself")

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """All that is to be forwarded."""
        if self.listen is None or self.target is None:
            return self.forward
        return (Forward(self.listen, self.target), *self.forward)

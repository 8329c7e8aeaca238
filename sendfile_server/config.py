"""Every option, once: its name, default, meaning, and what it accepts.

The command line, the environment and the TOML file are all made from the fields
of these classes; nothing else names an option.
"""

from dataclasses import dataclass
from typing import ClassVar

from sendfile_server.errors import ConfigError
from sendfile_server.options import (
    HOST,
    Access,
    Entrance,
    Network,
    TcpAddress,
    argument,
    one_of,
    option,
    parse_entrance,
    parse_flag,
    parse_mode,
    parse_network,
    parse_owner,
    parse_port,
    parse_seconds,
    parse_text,
    whole_number,
)
from sendfile_server.semantics.media_types import is_media_type
from sendfile_server.semantics.targets import is_base_path

_Pairs = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def _parse_host(value: str) -> str:
    if not HOST.fullmatch(value):
        raise ValueError("expected an address or a name")
    return value


def _parse_base_path(value: str) -> str:
    if not is_base_path(value):
        raise ValueError(
            "expected a path like /static/, without dot segments or escapes"
        )
    return value


def _parse_file_name(value: str) -> str:
    if "/" in value or parse_text(value).startswith("."):
        raise ValueError("expected a file name, without a slash or a leading dot")
    return value


def _parse_media_type(value: str) -> tuple[str, str]:
    extension, equals, kind = value.partition("=")
    extension = extension.removeprefix(".")
    if not equals or not extension or "." in extension or not is_media_type(kind):
        raise ValueError("expected EXT=TYPE, as in log=text/plain")
    return extension, kind


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command can be asked for. Times are in seconds."""

    ALTERNATIVES: ClassVar[_Pairs] = ()
    """Pairs of which only the one counts that comes from the nearer source."""

    workers: int | None = option(
        None,
        whole_number(1, 1024),
        "How much to use",
        "N",
        "Processes. Default: the CPUs that may be used, at most 4.",
    )
    max_connections: int = option(
        8192,
        whole_number(1),
        "How much to use",
        "N",
        "Connections at once, over all workers; more wait to be accepted.",
    )
    socket_mode: int | None = option(
        None,
        parse_mode,
        "Where to listen",
        "MODE",
        "Of Unix sockets, in octal, such as 0660. Default: what the umask allows.",
    )
    socket_owner: tuple[int, int] | None = option(
        None,
        parse_owner,
        "Where to listen",
        "USER[:GROUP]",
        "Of Unix sockets, by name or number; :GROUP sets the group only. Default: who"
        " starts it.",
    )
    log: str | None = option(
        None,
        parse_text,
        "What to tell",
        "FILE",
        "Append what is worth telling; - is stdout. SIGUSR1 opens it again. Default:"
        " stderr.",
    )
    log_level: str = option(
        "info",
        one_of("debug", "info", "warning", "error"),
        "What to tell",
        "LEVEL",
        "The least that is worth telling: debug, info, warning or error.",
    )
    trusted_proxy: tuple[Network, ...] = option(
        (),
        parse_network,
        "Behind a proxy",
        "CIDR",
        "Whom to believe who a client is: a network, an address, or unix: for those"
        " who come by a Unix socket. May be given more than once.",
    )
    proxy_timeout: float = option(
        5.0,  # more than a retransmission takes, as the protocol asks for
        parse_seconds,
        "How long to wait",
        "S",
        "For the whole PROXY header, where there must be one.",
    )
    metrics: Entrance | None = option(  # noqa: RUF009 - a field
        None,
        parse_entrance,
        "What to tell",
        "ADDR",
        "HOST:PORT, [IPV6]:PORT, unix:PATH or fd:NAME to tell /metrics, /live and"
        " /ready at.",
    )
    grace: int = option(
        30,
        whole_number(0),
        "How long to wait",
        "S",
        "To finish what is being sent when told to stop.",
    )

    @property
    def socket_access(self) -> Access:
        """Who may connect to Unix sockets."""
        return Access(self.socket_mode, self.socket_owner)


@dataclass(frozen=True, kw_only=True)
class Config(Common):
    """One validated configuration of ``sendfile-serve``. Times are in seconds."""

    ALTERNATIVES: ClassVar[_Pairs] = ((("listen",), ("host", "port")),)

    directory: str = argument("DIR", str)
    host: str = option(
        "127.0.0.1",
        _parse_host,
        "Where to listen",
        "HOST",
        "Address or name to listen on.",
    )
    port: int = option(
        8080, parse_port, "Where to listen", "N", "TCP port; 0 picks a free one."
    )
    listen: tuple[Entrance, ...] = option(
        (),
        parse_entrance,
        "Where to listen",
        "ADDR",
        "HOST:PORT, [IPV6]:PORT, unix:PATH or fd:NAME (given by systemd), instead of"
        " --host and --port. May be given more than once.",
    )
    base_path: str = option(
        "/",
        _parse_base_path,
        "What to serve",
        "PATH",
        "The path of URLs below which DIR is, like /static/; all else is 404.",
    )
    index: str = option(
        "index.html",
        _parse_file_name,
        "What to serve",
        "NAME",
        "File to serve for DIR/.",
    )
    mime_type: tuple[tuple[str, str], ...] = option(
        (),
        _parse_media_type,
        "What to serve",
        "EXT=TYPE",
        "Media type of an extension. May be given more than once.",
    )
    etag: str = option(
        "state",
        one_of("state", "content"),
        "What to serve",
        "KIND",
        "What entity tags are of: state (time and size of the file) or content.",
    )
    freshness: int = option(
        1,
        whole_number(0),
        "What to serve",
        "S",
        "Seconds for which what was found on disk may be remembered; 0 looks every"
        " time.",
    )
    memory: int = option(
        64,
        whole_number(1, 2**20),
        "How much to use",
        "MIB",
        "Memory of each worker for what it remembers, in MiB.",
    )
    no_memory: bool = option(
        default=False,
        parse=parse_flag,
        group="What to serve",
        metavar="",
        help_text="Remember nothing from one request to the next.",
    )
    access_log: str | None = option(
        None,
        parse_text,
        "What to tell",
        "FILE",
        "Append a line for every response, in the combined format; - is stdout."
        " SIGUSR1 opens it again.",
    )
    client_address: str | None = option(
        None,
        one_of("x-forwarded-for", "forwarded", "proxy"),
        "Behind a proxy",
        "SOURCE",
        "What to learn a client's address from: x-forwarded-for, forwarded (fields),"
        " or proxy (a header of the PROXY protocol, which must come).",
    )
    access_log_format: str = option(
        "combined",
        one_of("combined", "common", "json"),
        "What to tell",
        "FORMAT",
        "Of its lines: combined, common or json.",
    )
    threads: int = option(
        4,
        whole_number(1, 1024),
        "How much to use",
        "N",
        "Threads of each listener's pool, which wait for disks.",
    )
    header_timeout: float = option(
        60.0, parse_seconds, "How long to wait", "S", "For a whole request head."
    )
    keepalive_timeout: float = option(
        75.0, parse_seconds, "How long to wait", "S", "For the next request."
    )
    send_timeout: float = option(
        60.0, parse_seconds, "How long to wait", "S", "For a client to take some more."
    )
    keepalive_requests: int = option(
        1000, whole_number(1), "How long to wait", "N", "Requests per connection."
    )

    def __post_init__(self) -> None:
        if not self.directory or "\0" in self.directory:
            raise ConfigError("cannot serve a directory without a name")
        if self.listen and (self.host, self.port) != (Config.host, Config.port):
            raise ConfigError("--listen replaces --host and --port: use one or other")
        if self.client_address and not self.trusted_proxy:
            raise ConfigError("--client-address needs a --trusted-proxy to believe")
        if self.trusted_proxy and not self.client_address:
            raise ConfigError("--trusted-proxy is for --client-address, which is unset")

    @property
    def address(self) -> TcpAddress:
        """Where to listen, unless it is said otherwise."""
        return TcpAddress(self.host, self.port)

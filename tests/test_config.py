"""What each option accepts, and what a configuration is made of."""

import re
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.config import Config
from sendfile_server.errors import ConfigError
from sendfile_server.options import (
    GROUPS,
    Address,
    TcpAddress,
    UnixAddress,
    describe,
    options,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("127.0.0.1:80", TcpAddress("127.0.0.1", 80), id="IPv4"),
        pytest.param("localhost:0", TcpAddress("localhost", 0), id="a name, any port"),
        pytest.param("[::1]:8080", TcpAddress("::1", 8080), id="IPv6 loses brackets"),
        pytest.param("[::]:65535", TcpAddress("::", 65535), id="the last port"),
        pytest.param("unix:/run/a.sock", UnixAddress("/run/a.sock"), id="a path"),
        pytest.param("unix:a:80", UnixAddress("a:80"), id="a path that ends in a port"),
        pytest.param("unix:80", UnixAddress("80"), id="a path that is a number"),
        pytest.param("unixes:80", TcpAddress("unixes", 80), id="a name that begins so"),
    ],
)
def test_reads_address(value: str, expected: Address) -> None:
    """An address is told by its form."""
    assert options(Config)["listen"].parse(value) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("listen", "", id="no address"),
        pytest.param("listen", "8080", id="a port alone"),
        pytest.param("listen", ":8080", id="a port and its colon"),
        pytest.param("listen", "localhost", id="a host alone"),
        pytest.param("listen", "localhost:", id="a host and a colon"),
        pytest.param("listen", "localhost:http", id="a service's name"),
        pytest.param("listen", "localhost:65536", id="a port too high"),
        pytest.param("listen", "localhost:-1", id="a port below zero"),
        pytest.param("listen", "::1:80", id="IPv6 without brackets"),
        pytest.param("listen", "[::1]", id="IPv6 without a port"),
        pytest.param("listen", "[]:80", id="empty brackets"),
        pytest.param("listen", "unix", id="the scheme alone"),
        pytest.param("listen", "unix:", id="the scheme and no path"),
        pytest.param("listen", "unix:a\0b", id="NUL in a path"),
        pytest.param("socket_mode", "660", id="a mode without its leading zero"),
        pytest.param("socket_mode", "432", id="a mode as TOML reads 0o660"),
        pytest.param("socket_mode", "0688", id="a mode that is not octal"),
        pytest.param("socket_mode", "01777", id="a mode with more than permissions"),
        pytest.param("socket_owner", "", id="no owner"),
        pytest.param("socket_owner", ":", id="neither user nor group"),
        pytest.param("socket_owner", "0:", id="a colon and no group"),
        pytest.param("socket_owner", "0:0:0", id="more than user and group"),
        pytest.param("socket_owner", "no-such-user", id="a user that is not known"),
        pytest.param("socket_owner", ":no-such-group", id="a group that is not known"),
        pytest.param("socket_owner", "4294967295", id="a number for nobody"),
        pytest.param("socket_owner", "root\0", id="NUL in a user"),
        pytest.param("host", "", id="no host"),
        pytest.param("host", "a\0", id="NUL in a host"),
        pytest.param("port", "", id="no number"),
        pytest.param("port", "65536", id="65536"),
        pytest.param("port", "99999999999999999999999", id="23 digits"),
        pytest.param("port", "+1", id="a sign"),
        pytest.param("port", "-1", id="a number below zero"),
        pytest.param("port", "1_0", id="an underscore"),
        pytest.param("port", " 1", id="a space"),
        pytest.param("port", "1.0", id="a fraction"),
        pytest.param("port", "0x1", id="hex"),
        pytest.param("port", "\u0661", id="another digit"),
        pytest.param("port", "\u00b2", id="a superscript"),
        pytest.param("workers", "0", id="no workers"),
        pytest.param("workers", "1025", id="too many workers"),
        pytest.param("threads", "0", id="no threads"),
        pytest.param("max_connections", "0", id="no connections"),
        pytest.param("keepalive_requests", "0", id="no requests"),
        pytest.param("grace", "1.5", id="a fraction of a whole second"),
        pytest.param("freshness", "-1", id="freshness below zero"),
        pytest.param("etag", "inode", id="another kind of tag"),
        pytest.param("header_timeout", "", id="no time"),
        pytest.param("header_timeout", "0", id="a timeout of zero"),
        pytest.param("header_timeout", "-0.0", id="a timeout of minus zero"),
        pytest.param("keepalive_timeout", "-1", id="a timeout below zero"),
        pytest.param("send_timeout", "nan", id="a timeout that is no number"),
        pytest.param("send_timeout", "inf", id="a timeout without end"),
        pytest.param("send_timeout", "1e10", id="a timeout of centuries"),
        pytest.param("send_timeout", "5s", id="a timeout with its unit"),
        pytest.param("base_path", "", id="no base path"),
        pytest.param("base_path", "/static", id="a base path without its last slash"),
        pytest.param("base_path", "static/", id="a base path without its first slash"),
        pytest.param("base_path", "/a/../b/", id="a base path with dot segments"),
        pytest.param("base_path", "/%61/", id="a base path with an escape"),
        pytest.param("base_path", "/a/?b/", id="a base path with a query"),
        pytest.param("index", "", id="no index"),
        pytest.param("index", "a/b", id="an index elsewhere"),
        pytest.param("index", "..", id="an index that is the parent"),
        pytest.param("index", ".hidden", id="a hidden index"),
        pytest.param("index", "a\0", id="NUL in an index"),
        pytest.param("mime_type", "text/plain", id="no extension and no sign"),
        pytest.param("mime_type", "=text/plain", id="an empty extension"),
        pytest.param("mime_type", ".=text/plain", id="a dot for an extension"),
        pytest.param("mime_type", "log", id="no type"),
        pytest.param("mime_type", "log=", id="an empty type"),
        pytest.param("mime_type", "log=text", id="half a type"),
        pytest.param("mime_type", "log=a/b\r\nX: y", id="another field after a type"),
        pytest.param("access_log", "", id="no log"),
        pytest.param("no_memory", "yes", id="another word for true"),
    ],
)
def test_refuses_and_says_what_was_expected(name: str, value: str) -> None:
    """A mistake is a ValueError that tells the operator what would be right."""
    with pytest.raises(ValueError, match=r"^expected "):
        options(Config)[name].parse(value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("port", "0", 0, id="any port"),
        pytest.param("port", "65535", 65535, id="the last port"),
        pytest.param("port", "0080", 80, id="leading zeros are not octal"),
        pytest.param("workers", "1024", 1024, id="the most workers"),
        pytest.param("freshness", "0", 0, id="no freshness"),
        pytest.param("etag", "content", "content", id="a kind of tag"),
        pytest.param("max_connections", "1000000", 1_000_000, id="a million"),
        pytest.param("header_timeout", "0.25", 0.25, id="a quarter of a second"),
        pytest.param("send_timeout", "60", 60.0, id="a minute"),
        pytest.param("base_path", "/a/b.c/", "/a/b.c/", id="a base path"),
        pytest.param("index", "start.htm", "start.htm", id="an index"),
        pytest.param("mime_type", "log=text/x", ("log", "text/x"), id="a type"),
        pytest.param("mime_type", ".log=text/x", ("log", "text/x"), id="with its dot"),
        pytest.param(
            "mime_type", "a=text/x; b=c", ("a", "text/x; b=c"), id="with a parameter"
        ),
        pytest.param("access_log", "-", "-", id="the standard output"),
        pytest.param("socket_mode", "0660", 0o660, id="a mode"),
        pytest.param("socket_mode", "0000", 0, id="a mode that lets nobody in"),
        pytest.param("socket_owner", "root", (0, -1), id="a user"),
        pytest.param("socket_owner", "root:root", (0, 0), id="a user and a group"),
        pytest.param("socket_owner", ":root", (-1, 0), id="a group"),
        pytest.param("socket_owner", "7:8", (7, 8), id="numbers"),
        pytest.param("socket_owner", "123456", (123456, -1), id="a number of nobody"),
        pytest.param("no_memory", "True", True, id="a flag that is set"),
        pytest.param("no_memory", "False", False, id="a flag that is not set"),
    ],
)
def test_accepts(name: str, value: str, expected: object) -> None:
    """The values that an operator means are taken as meant."""
    assert options(Config)[name].parse(value) == expected


def test_every_field_but_the_directory_is_an_option() -> None:
    """No option is stated twice, and none is left out of the help."""
    names = [each.name for each in fields(Config) if each.name != "directory"]

    assert list(options(Config)) == names
    for option in options(Config).values():
        assert option.help.endswith(".")
        assert option.group in GROUPS


def test_every_default_is_what_its_option_accepts() -> None:
    """A default written out is the same value, so that help and code agree."""
    config = Config(directory=".")

    for name, option in options(Config).items():
        assert getattr(config, name) == option.default
        if option.default not in (None, ()):
            assert option.parse(str(option.default)) == option.default


def test_listens_on_host_and_port_by_default() -> None:
    """Without --listen there is one address, and it is this machine's own."""
    assert Config(directory=".").address == TcpAddress("127.0.0.1", 8080)
    assert Config(directory=".", host="::1", port=1).address == TcpAddress("::1", 1)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        pytest.param("::1", 8080, id="host"),
        pytest.param("127.0.0.1", 80, id="port"),
        pytest.param("::1", 80, id="both"),
    ],
)
def test_listen_beside_host_or_port_is_a_conflict(host: str, port: int) -> None:
    """Which was meant can't be told, so neither is taken."""
    with pytest.raises(ConfigError, match="--listen"):
        Config(directory=".", host=host, port=port, listen=(UnixAddress("/a"),))


def test_cannot_be_changed() -> None:
    """What was validated stays valid."""
    config = Config(directory=".")

    with pytest.raises(FrozenInstanceError):
        config.port = 0  # type: ignore[misc]


HOSTS = st.ip_addresses().map(str)


@given(HOSTS, st.integers(0, 65535))
@settings(deadline=None, max_examples=100)
def test_every_ip_address_can_be_listened_on(host: str, port: int) -> None:
    """Any address of either version, with any port, is read to the letter."""
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    assert options(Config)["listen"].parse(written) == TcpAddress(host, port)
    assert describe(TcpAddress(host, port)) == written


@given(st.text(st.sampled_from("0123456789+-_ .x\u0661"), max_size=8))
@settings(deadline=None, max_examples=300)
def test_only_ascii_digits_up_to_the_maximum_are_a_port(value: str) -> None:
    """Exactly what the grammar of a number allows is a number, and the same one."""
    is_port = re.fullmatch(r"[0-9]+", value) is not None and int(value) <= 65535

    if is_port:
        assert options(Config)["port"].parse(value) == int(value)
    else:
        with pytest.raises(ValueError, match=r"^expected "):
            options(Config)["port"].parse(value)

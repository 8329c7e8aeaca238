"""Listening sockets: what they are, and what is in their way."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sendfile_server.errors import ConfigError
from sendfile_server.hosting.sockets import listen, url_of
from sendfile_server.options import Address, TcpAddress, UnixAddress
from tools import give_up


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Close what a test opened."""
    with ExitStack() as stack:
        yield stack


def _listen(sockets: ExitStack, address: Address) -> list[socket.socket]:
    return [sockets.enter_context(closing(each)) for each in listen(address)]


def test_kernel_chooses_a_free_port(sockets: ExitStack) -> None:
    """Port 0 is any, and the URL tells which."""
    (listener,) = _listen(sockets, TcpAddress("127.0.0.1", 0))
    host, port = listener.getsockname()
    assert host == "127.0.0.1"
    assert port > 0
    assert url_of(listener) == f"http://127.0.0.1:{port}/"
    assert url_of(listener, "/a/") == f"http://127.0.0.1:{port}/a/"
    assert not listener.getblocking()


def test_accepted_sockets_inherit_their_options(sockets: ExitStack) -> None:
    """Nothing need be set for each of them."""
    inherited = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 12_345),
    )
    (listener,) = listen(TcpAddress("127.0.0.1", 0), inherited)
    sockets.enter_context(listener)
    peer = sockets.enter_context(socket.create_connection(listener.getsockname()))
    peer.sendall(b"x")
    listener.settimeout(20)
    client = sockets.enter_context(listener.accept()[0])
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    low_water = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert low_water == 12_345


def test_second_server_on_a_port_is_refused(sockets: ExitStack) -> None:
    """Nobody shares our port, and the message says why."""
    (listener,) = _listen(sockets, TcpAddress("127.0.0.1", 0))
    port = listener.getsockname()[1]
    message = f"cannot listen on 127.0.0.1:{port}: another program does already"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        listen(TcpAddress("127.0.0.1", port))


def test_port_is_free_again_at_once(sockets: ExitStack) -> None:
    """Connections that the last server closed don't keep the next one away."""
    (listener,) = _listen(sockets, TcpAddress("127.0.0.1", 0))
    place = listener.getsockname()
    with socket.create_connection(place) as peer:
        peer.sendall(b"x")
        listener.settimeout(20)
        listener.accept()[0].close()
    listener.close()
    (again,) = _listen(sockets, TcpAddress(*place))
    assert again.getsockname() == place


def test_address_of_another_machine_is_refused() -> None:
    """An address for documentation (RFC 5737) is none of ours."""
    message = "^cannot listen on 192.0.2.1:0: no such address on this machine$"
    with pytest.raises(ConfigError, match=message):
        listen(TcpAddress("192.0.2.1", 0))


def test_privileged_port_is_explained() -> None:
    """Without the privilege, the message says that the port needs it."""
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    if int(start) <= 1:
        give_up("no port of this machine is privileged")
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match=r"^cannot listen .*port is privileged$"):
            listen(TcpAddress("127.0.0.1", 1))
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_is_listened_on(sockets: ExitStack, host: str) -> None:
    """By an address in brackets, and for IPv6 alone, so that IPv4 is left free."""
    if not Path("/proc/net/if_inet6").exists():
        give_up("this machine has no IPv6")
    (listener,) = _listen(sockets, TcpAddress(host, 0))
    port = listener.getsockname()[1]
    assert listener.family == socket.AF_INET6
    assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    sockets.enter_context(socket.create_connection(("::1", port), 20))
    _listen(sockets, TcpAddress("0.0.0.0", port))  # noqa: S104 - the point


def test_ipv6_url_has_brackets(sockets: ExitStack) -> None:
    """As RFC 3986 section 3.2.2 writes it."""
    if not Path("/proc/net/if_inet6").exists():
        give_up("this machine has no IPv6")
    (listener,) = _listen(sockets, TcpAddress("::1", 0))
    assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}/"


def test_every_interface_is_shown_as_a_place_to_open(sockets: ExitStack) -> None:
    """The wildcard is no address that a browser could open."""
    address = TcpAddress("0.0.0.0", 0)  # noqa: S104 - the point
    (listener,) = _listen(sockets, address)
    port = listener.getsockname()[1]
    assert url_of(listener) == f"http://localhost:{port}/ (on every interface)"
    assert url_of(listener, "/a/") == f"http://localhost:{port}/a/ (on every interface)"


def test_name_stands_for_all_its_addresses(sockets: ExitStack) -> None:
    """Whatever the name resolves to is listened on, each once."""
    listeners = _listen(sockets, TcpAddress("localhost", 0))
    hosts = [listener.getsockname()[0] for listener in listeners]
    assert hosts
    assert set(hosts) <= {"127.0.0.1", "::1"}
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "a" * 64 + ".invalid", "in valid"]
)
def test_unknown_name_is_refused(host: str) -> None:
    """A name that nobody can resolve is the operator's mistake."""
    with pytest.raises(ConfigError, match=f"^cannot listen on {host}: ."):
        listen(TcpAddress(host, 0))


def test_unix_socket_is_connected_to(sockets: ExitStack, tmp_path: Path) -> None:
    """By its path, which its URL shows."""
    path = str(tmp_path / "socket")
    (listener,) = _listen(sockets, UnixAddress(path))
    assert url_of(listener) == f"unix:{path}"
    assert not listener.getblocking()
    peer = sockets.enter_context(socket.socket(socket.AF_UNIX))
    peer.connect(path)
    listener.settimeout(20)
    sockets.enter_context(listener.accept()[0])


def test_stale_unix_socket_is_replaced(sockets: ExitStack, tmp_path: Path) -> None:
    """A socket file that a killed server left behind is in nobody's way."""
    path = str(tmp_path / "socket")
    listen(UnixAddress(path))[0].close()
    assert os.path.exists(path)
    _listen(sockets, UnixAddress(path))
    peer = sockets.enter_context(socket.socket(socket.AF_UNIX))
    peer.connect(path)


def test_live_unix_socket_is_refused(sockets: ExitStack, tmp_path: Path) -> None:
    """A server that listens there keeps its socket."""
    path = str(tmp_path / "socket")
    (listener,) = _listen(sockets, UnixAddress(path))
    with pytest.raises(ConfigError, match=r"another program does already$"):
        listen(UnixAddress(path))
    peer = sockets.enter_context(socket.socket(socket.AF_UNIX))
    peer.connect(path)
    assert listener.getsockname() == path


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_file_in_the_way_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    """What is no socket is not ours to remove."""
    path = tmp_path / "socket"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to("elsewhere")
        case _:
            os.mkfifo(path)
    before = path.lstat()
    with pytest.raises(ConfigError, match=r"a file is in the way$"):
        listen(UnixAddress(str(path)))
    after = path.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """There has to be a place for the socket."""
    with pytest.raises(ConfigError, match=r"^cannot listen on unix:.*No such file"):
        listen(UnixAddress(str(tmp_path / "missing" / "socket")))


def test_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """No path has more than 107 bytes (unix(7)); the message is still a line."""
    path = str(tmp_path / ("n" * 120))
    with pytest.raises(ConfigError, match=r"^cannot listen on unix:.*too long"):
        listen(UnixAddress(path))

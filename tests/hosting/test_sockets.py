"""Listening sockets: what they are, and what is in their way."""

import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from running import HAS_IPV6, Serve, wait_until
from sendfile_server.errors import ConfigError
from sendfile_server.hosting.sockets import listen, url_of
from sendfile_server.options import Access, Address, TcpAddress, UnixAddress
from tools import give_up, need
from wire import fetch

# Ids that nobody has; the owner, one of the group, and one who is neither.
OWNER = (61_001, 61_002)
MEMBER = (61_003, 61_002)
STRANGER = (61_004, 61_004)


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
    message = f"cannot listen on 127.0.0.1:{port}: it is in use"
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
def test_ipv6_is_listened_on(sockets: ExitStack, free_port: int, host: str) -> None:
    """By an address in brackets, and for IPv6 alone, so that IPv4 is left free."""
    if not HAS_IPV6:
        give_up("this machine has no IPv6")
    (listener,) = _listen(sockets, TcpAddress(host, free_port))
    assert listener.family == socket.AF_INET6
    assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    sockets.enter_context(socket.create_connection(("::1", free_port), 20))
    _listen(sockets, TcpAddress("0.0.0.0", free_port))  # noqa: S104 - the point


def test_ipv6_url_has_brackets(sockets: ExitStack) -> None:
    """As RFC 3986 section 3.2.2 writes it."""
    if not HAS_IPV6:
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


def test_unix_socket_that_is_being_made_is_not_stale(tmp_path: Path) -> None:
    """Whoever starts at the same moment finds it in use, though nobody listens yet."""
    need("strace")
    path = tmp_path / "socket"
    code = f"""
from sendfile_server.hosting.sockets import listen
from sendfile_server.options import UnixAddress
(listener,) = listen(UnixAddress({str(path)!r}))
input()
"""
    slow = ("-e", "trace=listen", "-e", "inject=listen:delay_enter=1s")
    command = ("strace", "-qq", "-o", "/dev/null", *slow, sys.executable, "-c", code)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as first:
        wait_until(path.exists, "the socket of the first")
        with pytest.raises(ConfigError, match=r"it is in use$"):
            listen(UnixAddress(str(path)))
        first.communicate(b"\n")
    assert first.returncode == 0


def test_locked_directory_keeps_nobody_for_long(
    sockets: ExitStack, tmp_path: Path
) -> None:
    """Whoever else locks it, the socket is made."""
    directory = os.open(tmp_path, os.O_RDONLY)
    sockets.callback(os.close, directory)
    fcntl.flock(directory, fcntl.LOCK_SH)
    _listen(sockets, UnixAddress(str(tmp_path / "socket")))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(tmp_path / "socket"))


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
    with pytest.raises(ConfigError, match=r"it is in use$"):
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


def test_live_unix_socket_with_a_full_queue_is_refused(
    sockets: ExitStack, tmp_path: Path
) -> None:
    """A server that accepts nobody lives all the same, and nobody waits for it."""
    path = str(tmp_path / "socket")
    stuck = sockets.enter_context(socket.socket(socket.AF_UNIX))
    stuck.bind(path)
    stuck.listen(0)
    sockets.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
    with pytest.raises(ConfigError, match=r"it is in use$"):
        listen(UnixAddress(path))


@contextmanager
def acting_as(user: int, group: int) -> Iterator[None]:
    """Have the permissions of another user."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def common_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder that all may search, whatever is above it."""
    if os.geteuid():
        give_up("not root")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "welcome"),
    [
        pytest.param(0o600, {OWNER}, id="the owner"),
        pytest.param(0o660, {OWNER, MEMBER}, id="the group too"),
        pytest.param(0o666, {OWNER, MEMBER, STRANGER}, id="everybody"),
        pytest.param(0o060, {MEMBER}, id="the group and not the owner"),
        pytest.param(0, set(), id="nobody"),
    ],
)
def test_mode_and_owner_say_who_may_connect(
    sockets: ExitStack,
    common_folder: Path,
    mode: int,
    welcome: set[tuple[int, int]],
) -> None:
    """As for any other file, whatever the umask."""
    path = common_folder / "socket"
    listeners = listen(UnixAddress(str(path)), access=Access(mode, OWNER))
    sockets.enter_context(listeners[0])

    for who in (OWNER, MEMBER, STRANGER):
        with acting_as(*who), socket.socket(socket.AF_UNIX) as peer:
            assert (peer.connect_ex("socket") == 0) is (who in welcome)
    found = path.stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (mode, *OWNER)


def test_what_is_not_said_stays(sockets: ExitStack, common_folder: Path) -> None:
    """The umask's mode without a mode, our own user without a user."""
    path = common_folder / "socket"
    before = os.umask(0o027)
    try:
        listeners = listen(UnixAddress(str(path)), access=Access(owner=(-1, 61_002)))
    finally:
        assert os.umask(before) == 0o027
    sockets.enter_context(listeners[0])
    found = path.stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o750, 0, 61_002)


def test_owner_that_we_may_not_set_is_refused(common_folder: Path) -> None:
    """Only root gives files away; no socket is left behind, and the umask is back."""
    folder = common_folder / "folder"
    folder.mkdir()
    os.chown(folder, *STRANGER)
    before = os.umask(0o022)
    try:
        with (
            acting_as(*STRANGER),
            pytest.raises(ConfigError, match=r"--socket-owner: Operation not permi"),
        ):
            listen(UnixAddress("folder/socket"), access=Access(0o660, OWNER))
    finally:
        assert os.umask(before) == 0o022
    assert list(folder.iterdir()) == []


def test_stale_unix_socket_of_another_is_refused(
    sockets: ExitStack, common_folder: Path
) -> None:
    """Where we may not remove it; the message is still a line."""
    common_folder.chmod(0o1777)
    access = Access(0o666)
    listen(UnixAddress(str(common_folder / "socket")), access=access)[0].close()
    with (
        acting_as(*STRANGER),
        pytest.raises(ConfigError, match=r"^cannot listen on unix:socket: Addr"),
    ):
        _listen(sockets, UnixAddress("socket"))


@pytest.mark.e2e
def test_nobody_connects_before_mode_and_owner_are_set(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """The file appears with its mode, and gets its owner before it is listened on.

    So do the sockets of the metrics.
    """
    need("strace")
    log, paths = tmp_path / "strace", (tmp_path / "one", tmp_path / "two")
    serve(
        site,
        *("--listen", f"unix:{paths[0]}", "--metrics", f"unix:{paths[1]}"),
        *("--socket-mode", "0606", "--socket-owner", f"{os.getuid()}"),
        *("--workers", "1"),
        prefix=("strace", "-f", "-o", str(log), "-e", "trace=umask,bind,/chown,listen"),
    )

    calls = log.read_text()
    for path in paths:
        assert re.search(
            r"umask\(0171\) .*\n"
            rf".* bind\(.*{path}.*\n"
            r".* umask\(0[0-7]+\) .*\n"
            rf".*chown.*{path}.* = 0\n"
            r".* listen\(",
            calls,
        )
        assert fetch(str(path), "/").status == 200

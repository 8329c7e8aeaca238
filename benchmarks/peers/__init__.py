"""Every server that is measured, with the settings that are best for it.

A row says how to run it; the files beside this one are its settings. In both,
``@name@`` stands for what is known only when it starts:

    @root@    the directory to serve           @port@    where to listen
    @file@    the one file that a floor sends  @user@    who runs this
    @run@     a directory of its own           @build@   where programs are built
    @peers@   this directory                   @config@  its settings, filled in
    @python@  this interpreter                 @target@  where a relay connects to

    @descriptors@   how many a process may open, at most 65,535
    @cached_files@  100,000, or as many of them as leave room for connections

All have one process or one thread that serves, no log unless the name says so,
and connections that are kept without a limit (lighttpd: 65,535 requests).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).parent

_EXTRA = "pip install -e '.[bench]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One server with one set of settings."""

    title: str
    """What a reader calls it."""
    command: str
    config: str = ""
    """The file of its settings, beside this module."""
    program: str = ""
    """What must be installed for it, or to build it."""
    version: str = "--version"
    """How *program* tells its version."""
    package: str = ""
    """The distribution whose version it is, instead of *program*'s."""
    debian: str = ""
    """The package of Debian that has *program*; empty if it is on PyPI."""
    build: str = ""
    """What makes a program in @build@."""
    module: str = ""
    """A file that must be there beside *program*."""
    environment: Mapping[str, str] | None = None

    @property
    def remedy(self) -> str:
        """How what it needs is usually installed."""
        return f"apt-get install {self.debian}" if self.debian else _EXTRA


def _ours(title: str, *options: str) -> Peer:
    command = "@python@ -m sendfile_server @root@ --port @port@ --workers 1"
    unlimited = "--keepalive-requests 2147483647"
    return Peer(
        title=title,
        command=" ".join((command, unlimited, *options)),
        package="sendfile-server",
    )


def _ours_relay(title: str) -> Peer:
    return Peer(
        title=title,
        command="splice-relay 127.0.0.1:@port@ 127.0.0.1:@target@ --workers 1",
        package="sendfile-server",
    )


def _nginx(title: str, config: str) -> Peer:
    return Peer(
        title=title,
        command="nginx -c @config@",
        config=config,
        program="nginx",
        version="-v",
        debian="nginx",
    )


def _nginx_stream(title: str, config: str) -> Peer:
    return replace(
        _nginx(title, config),
        debian="nginx libnginx-mod-stream",
        module="/usr/share/nginx/modules/ngx_stream_module.so",
    )


def _haproxy(title: str, config: str) -> Peer:
    return Peer(
        title=title,
        command="haproxy -db -f @config@",
        config=config,
        program="haproxy",
        version="-v",
        debian="haproxy",
    )


def _lighttpd(title: str, config: str) -> Peer:
    return Peer(
        title=title,
        command="lighttpd -D -f @config@",
        config=config,
        program="lighttpd",
        debian="lighttpd",
    )


def _floor(title: str, name: str) -> Peer:
    return Peer(
        title=title,
        command=f"@build@/{name} @port@ @file@",
        program="gcc",
        debian="gcc libc6-dev",
        build=f"gcc -O2 -Wall -Wextra -o @build@/{name} @peers@/{name}.c",
    )


def _granian(title: str, options: str) -> Peer:
    served = "--host 127.0.0.1 --port @port@ --workers 1 --http 1 --no-ws --no-log"
    return Peer(
        title=title,
        command=f"granian {served} {options} --working-dir @peers@ starlette_app:app",
        program="granian",
        package="granian",
        environment={"BENCHMARK_ROOT": "@root@"},
    )


def _aiohttp(title: str, loop: str) -> Peer:
    return Peer(
        title=title,
        command=f"@python@ @peers@/aiohttp_app.py @root@ @port@ {loop}",
        package="aiohttp",
    )


BOUND_MIB = 256
"""The bound of the memory of `ours-bounded`."""

_BOUNDED = (f"--memory {BOUND_MIB}",)

PEERS: Mapping[str, Peer] = {
    "ours": _ours("sendfile-server"),
    # The same server twice shows what a difference means: nothing is the noise.
    "ours-again": _ours("sendfile-server, once more"),
    "ours-log": _ours("sendfile-server, logging", "--access-log @run@/access.log"),
    "ours-no-memory": _ours("sendfile-server, no memory", "--no-memory"),
    "ours-bounded": _ours("sendfile-server, bounded memory", *_BOUNDED),
    "nginx": _nginx("nginx", "nginx.conf"),
    # Which of these is the best depends on the size of the file.
    "nginx-copy": _nginx("nginx, sendfile off", "nginx-copy.conf"),
    "nginx-uncorked": _nginx("nginx, tcp_nopush off", "nginx-uncorked.conf"),
    "nginx-aio": _nginx("nginx, aio threads", "nginx-aio.conf"),
    "nginx-log": _nginx("nginx, logging", "nginx-log.conf"),
    "lighttpd": _lighttpd("lighttpd", "lighttpd.conf"),
    "lighttpd-inotify": _lighttpd("lighttpd, inotify", "lighttpd-inotify.conf"),
    "h2o": Peer(
        title="h2o",
        command="h2o -c @config@",
        config="h2o.yaml",
        program="h2o",
        debian="h2o",
    ),
    "caddy": Peer(
        title="Caddy",
        command="caddy run --adapter caddyfile --config @config@",
        config="Caddyfile",
        program="caddy",
        version="version",
        environment={"GOMAXPROCS": "1"},
    ),
    "go": Peer(
        title="Go net/http",
        command="@build@/net_http @port@ @root@",
        config="net_http.go",
        program="go",
        version="version",
        debian="golang-go",
        build="go build -o @build@/net_http @peers@/net_http.go",
        environment={"GOMAXPROCS": "1"},
    ),
    "granian": _granian(
        "granian + Starlette", "--interface asgi --loop uvloop --runtime-threads 1"
    ),
    "granian-static": _granian(
        "granian's static files",
        "--interface asgi --loop uvloop --runtime-threads 1"
        " --static-path-route / --static-path-mount @root@",
    ),
    "uvicorn": Peer(
        title="uvicorn + Starlette",
        command="uvicorn --app-dir @peers@ starlette_app:app --port @port@ --workers 1"
        " --loop uvloop --http httptools --no-access-log --log-level critical"
        " --timeout-keep-alive 3600",
        program="uvicorn",
        package="uvicorn",
        environment={"BENCHMARK_ROOT": "@root@"},
    ),
    "aiohttp": _aiohttp("aiohttp", "asyncio"),
    "aiohttp-uvloop": _aiohttp("aiohttp on uvloop", "uvloop"),
    "http.server": Peer(
        title="python -m http.server",
        command="@python@ -m http.server --bind 127.0.0.1 --protocol HTTP/1.1"
        " --directory @root@ @port@",
    ),
    "floor-send": _floor("floor: send", "floor_send"),
    "floor-sendfile": _floor("floor: sendfile", "floor_sendfile"),
    # Relays.
    "ours-relay": _ours_relay("splice-relay"),
    "ours-relay-again": _ours_relay("splice-relay, once more"),
    "haproxy": _haproxy("HAProxy", "haproxy.cfg"),
    "haproxy-copy": _haproxy("HAProxy, no splice", "haproxy-copy.cfg"),
    "go-relay": Peer(
        title="Go io.Copy",
        command="@build@/relay @port@ @target@",
        config="relay.go",
        program="go",
        version="version",
        debian="golang-go",
        # One CPU is all that it may use, and it makes as many threads for itself.
        build="go build -o @build@/relay @peers@/relay.go",
    ),
    "nginx-stream": _nginx_stream("nginx stream, 64 KiB", "nginx-stream.conf"),
    "nginx-stream-1m": _nginx_stream("nginx stream, 1 MiB", "nginx-stream-1m.conf"),
}
"""In the order in which tables and charts show them."""


def find_program(name: str) -> str | None:
    """Return the path of a program: beside this interpreter, or installed."""
    beside = str(Path(sys.executable).parent)
    places = (beside, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")
    return shutil.which(name, path=os.pathsep.join(places))


def find_version(peer: Peer) -> str | None:
    """Return the version of *peer*, or None if something that it needs is missing."""
    if peer.package:
        try:
            return metadata.version(peer.package)
        except metadata.PackageNotFoundError:
            return None
    if peer.module and not Path(peer.module).exists():
        return None
    if not peer.program:
        return sys.version.split()[0]
    number = find_program_version(peer.program, peer.version)
    # Of what is built, it is the builder's.
    return f"{peer.program} {number}" if number and peer.build else number


def find_program_version(name: str, option: str) -> str | None:
    """Return what a program tells as its version, or None if it is missing."""
    program = find_program(name)
    if program is None:
        return None
    told = subprocess.run(  # noqa: S603 - of the table of peers
        [program, option],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    found = re.search(r"[0-9]+(?:\.[0-9]+)+", told.stdout)
    return found[0] if found else "unknown"


def settings(peer: Peer) -> str:
    """Return the file of the settings of *peer*, as it is written; empty if none."""
    return (FOLDER / peer.config).read_text() if peer.config else ""

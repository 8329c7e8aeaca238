"""Programs as people run them, with the relay between the two of them."""

import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

import running
from relaying import Handler, Relay, Target
from running import Serve, Server, wait_until
from tools import digest, give_up, need, run

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024


class Start(Protocol):
    """Starts a program that serves; see `start`."""

    def __call__(self, place: str, *command: str | Path) -> None: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run programs until they listen at a place, and stop them at the end."""
    with ExitStack() as stack:
        yield partial(start_in, stack, tmp_path)


def start_in(stack: ExitStack, folder: Path, place: str, *command: str | Path) -> None:
    """Run *command* until it listens at *place*, and stop it at the end of *stack*."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    stack.callback(process.wait, 20)
    stack.callback(process.send_signal, signal.SIGINT)

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        return is_listening(place)

    wait_until(listens, f"{command[0]} to listen")


def is_listening(place: str) -> bool:
    """Tell whether anybody takes connections at a place of TCP or a Unix socket.

    Without connecting, which not every program takes well.
    """
    if place.startswith("unix:"):
        return place.removeprefix("unix:") in Path("/proc/net/unix").read_text()
    port = int(place.rpartition(":")[2])
    return f"0100007F:{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def as_inetd_does(*command: str | Path) -> Handler:
    """Make a target that hands each connection to a process of its own."""

    def handle(client: socket.socket) -> None:
        client.setblocking(True)
        number = client.fileno()
        subprocess.run(
            command, stdin=number, stdout=number, stderr=subprocess.DEVNULL, check=False
        )

    return handle


# PostgreSQL.


@dataclass
class Postgres:
    """A server, and where it is."""

    folder: Path
    """That of its Unix socket."""
    port: int

    def place(self, kind: str) -> str:
        """Return its address, as the relay takes it."""
        if kind == "unix":
            return f"unix:{self.folder}/.s.PGSQL.{self.port}"
        return f"127.0.0.1:{self.port}"

    def psql(self, *arguments: str) -> str:
        """Ask it directly."""
        return psql(str(self.folder), self.port, *arguments)


def psql(host: str, port: int, *arguments: str) -> str:
    """Run psql, and return what it prints."""
    return run(*psql_command(host, port), *arguments)


def psql_command(host: str, port: int) -> list[str]:
    options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres")
    return ["psql", *options, "-h", host, "-p", str(port)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Run a server with a cluster of its own."""
    need("psql", "setpriv")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        give_up("not installed: postgresql")
    programs = found[-1].parent
    # It refuses to run as root, and the folders of tests are for their user only.
    user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    prefix = user if os.geteuid() == 0 else ()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if prefix:
            shutil.chown(folder, "nobody", "nogroup")
        data = folder / "data"
        cluster = ("-D", data, "-U", "postgres", "-A", "trust", "--locale=C")
        run(*prefix, programs / "initdb", *cluster, "-E", "UTF8", "--no-sync")
        server = Postgres(folder, stack.enter_context(running.free_port()))
        settings = (
            *("-c", "listen_addresses=127.0.0.1", "-p", str(server.port)),
            *("-c", f"unix_socket_directories={folder}", "-c", "fsync=off"),
        )
        command = (*prefix, programs / "postgres", "-D", data, *settings)
        start_in(stack, folder, server.place("unix"), *command)
        wait_until(lambda: server.psql("-c", "select 1"), "the cluster to be ready")
        yield server


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_psql_queries_and_copies(
    relay: Relay, postgres: Postgres, tmp_path: Path, kind: str
) -> None:
    """What is copied out and in again is what the server has."""
    port = relay(postgres.place(kind)).port

    def ask(statement: str) -> str:
        return psql("127.0.0.1", port, "-c", statement)

    rows = "select i, repeat(md5(i::text), 8) from generate_series(1, 100000) as i"
    ask("drop table if exists original, copied")
    ask(f"create table original as {rows}")
    assert ask("select sum(i) from original") == "5000050000\n"
    postgres.psql("-c", rf"\copy original to {tmp_path}/direct")
    ask(rf"\copy original to {tmp_path}/out")
    ask("create table copied (like original)")
    ask(rf"\copy copied from {tmp_path}/out")
    postgres.psql("-c", rf"\copy copied to {tmp_path}/in")
    for name in ("out", "in"):
        assert digest(tmp_path / name) == digest(tmp_path / "direct")


def test_psql_cancels_a_query(relay: Relay, postgres: Postgres) -> None:
    """Ctrl-C comes through on a connection of its own."""
    command = psql_command("127.0.0.1", relay(postgres.place("tcp")).port)
    process = subprocess.Popen(
        [*command, "-c", "select pg_sleep(100)"], stderr=subprocess.PIPE
    )
    ours = "select 1 from pg_stat_activity where query = 'select pg_sleep(100)'"
    wait_until(lambda: postgres.psql("-c", ours), "the query to run")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert b"canceling statement due to user request" in said


# Redis.


@pytest.fixture
def redis(start: Start, tmp_path: Path) -> str:
    """Run a server that keeps nothing, and return where."""
    need("redis-server", "redis-cli", "redis-benchmark")
    place = f"unix:{tmp_path}/redis"
    options = ("--port", "0", "--unixsocket", f"{tmp_path}/redis", "--save", "")
    start(place, "redis-server", *options, "--dir", tmp_path)
    return place


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-n", "20000"), id="one by one"),
        pytest.param(("-n", "200000", "-P", "16"), id="pipelined"),
        pytest.param(("-n", "5000", "-d", "100000"), id="large values"),
    ],
)
def test_redis_benchmark_is_served(
    relay: Relay, redis: str, options: tuple[str, ...]
) -> None:
    """Each of its requests is answered."""
    port = str(relay(redis).port)
    said = run("redis-benchmark", "-p", port, "-q", "-t", "set,get", *options)
    assert re.findall(r"(SET|GET): [0-9.]+ requests per second", said) == ["SET", "GET"]


def test_redis_returns_a_large_value(relay: Relay, redis: str, tmp_path: Path) -> None:
    """As it was."""
    value, returned = tmp_path / "value", tmp_path / "returned"
    value.write_bytes(os.urandom(40 * MIB))
    client = ("redis-cli", "-p", str(relay(redis).port))
    with value.open("rb") as source, returned.open("wb") as sink:
        subprocess.run([*client, "-x", "set", "key"], stdin=source, check=True)
        subprocess.run([*client, "--raw", "get", "key"], stdout=sink, check=True)
    with returned.open("r+b") as file:
        file.truncate(40 * MIB)  # a line feed is the client's own
    assert digest(returned) == digest(value)


# OpenSSH.


@pytest.fixture
def ssh(relay: Relay, target: Target, tmp_path: Path) -> list[str]:
    """Run a server with keys of its own, and return what makes a client use it."""
    sshd = Path("/usr/sbin/sshd")
    need("ssh", "scp", "sftp", "ssh-keygen")
    if not sshd.exists():
        give_up("not installed: openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # as the service of Debian does
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name)
    config = tmp_path / "sshd_config"
    config.write_text(f"""
HostKey {tmp_path}/host
AuthorizedKeysFile {tmp_path}/user.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
""")
    port = relay(target(as_inetd_does(sshd, "-i", "-f", config))).port
    kind, key, *_ = (tmp_path / "host.pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    settings = {
        "Port": port,
        "User": getpass.getuser(),
        "IdentityFile": tmp_path / "user",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": tmp_path / "known",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    return ["-q", "-F", "none", *options]


def test_ssh_carries_files(ssh: list[str], tmp_path: Path) -> None:
    """Up by scp, down by sftp, and through a command both ways at once."""
    original = tmp_path / "original"
    original.write_bytes(os.urandom(100 * MIB))
    run("scp", *ssh, original, f"127.0.0.1:{tmp_path}/up")
    run("sftp", *ssh, f"127.0.0.1:{tmp_path}/up", tmp_path / "down")
    with original.open("rb") as source, (tmp_path / "through").open("wb") as sink:
        command = ["ssh", *ssh, "127.0.0.1", "cat"]
        subprocess.run(command, stdin=source, stdout=sink, check=True, timeout=60)
    for name in ("up", "down", "through"):
        assert digest(tmp_path / name) == digest(original)


# rsync.


def test_rsync_mirrors_both_ways(relay: Relay, target: Target, tmp_path: Path) -> None:
    """A tree that was sent and fetched again is the same."""
    need("rsync")
    trees = [tmp_path / name for name in ("original", "mirror", "again")]
    for number in range(300):
        file = trees[0] / str(number % 7) / str(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(number * 50))
    (trees[0] / "large").write_bytes(os.urandom(40 * MIB))
    trees[1].mkdir()
    config = tmp_path / "rsyncd.conf"
    config.write_text(f"""
use chroot = no
uid = {os.geteuid()}
gid = {os.getegid()}
[mirror]
path = {trees[1]}
read only = no
""")
    daemon = as_inetd_does("rsync", "--daemon", f"--config={config}")
    url = f"rsync://127.0.0.1:{relay(target(daemon)).port}/mirror/"
    run("rsync", "-a", f"{trees[0]}/", url)
    run("rsync", "-a", url, f"{trees[2]}/")
    contents = [
        {
            file.relative_to(tree): digest(file)
            for file in tree.rglob("*")
            if file.is_file()
        }
        for tree in trees
    ]
    assert len(contents[0]) == 301
    assert contents[1] == contents[2] == contents[0]


# HTTP.

COMPARE = """
local file = io.open("{file}", "rb")
local expected = file:read("*a")
file:close()
local threads = {{}}
right, wrong = 0, 0
function setup(thread) table.insert(threads, thread) end
function response(status, fields, body)
  if status == 200 and body == expected then right = right + 1
  else wrong = wrong + 1 end
end
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local is_right, is_wrong = 0, 0
  for _, thread in ipairs(threads) do
    is_right = is_right + thread:get("right")
    is_wrong = is_wrong + thread:get("wrong")
  end
  io.write(string.format("right %d wrong %d failed %d\\n", is_right, is_wrong, failed))
end
"""


@pytest.mark.parametrize("size", [1024, MIB])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_wrk_gets_what_is_served(
    relay: Relay, serve: Serve, tmp_path: Path, size: int, workers: str
) -> None:
    """Every answer is the file, and none is missing."""
    need("wrk")
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    script = tmp_path / "compare.lua"
    script.write_text(COMPARE.format(file=file))
    server = relay(f"127.0.0.1:{serve(tmp_path).port}", "--workers", workers)
    options = ("-t", "2", "-c", "32", "-d", "1s", "-s", script)
    said = run("wrk", *options, f"{server.url}/file")
    counts = re.search(r"right (\d+) wrong (\d+) failed (\d+)", said)
    assert counts
    assert int(counts[1]) > 100
    assert counts.group(2, 3) == ("0", "0")


# iperf3.


@pytest.mark.parametrize("direction", [(), ("-R",)], ids=["there", "back"])
def test_iperf3_never_stands_still(
    relay: Relay, start: Start, free_port: int, direction: tuple[str, ...]
) -> None:
    """Several streams at once all move, all the time, and nearly all is spliced."""
    need("iperf3")
    place = f"127.0.0.1:{free_port}"
    start(place, "iperf3", "-s", "-B", "127.0.0.1", "-p", str(free_port))
    server = relay(place, "--workers", "1")
    options = ("-P", "4", "-t", "2", "-i", "0.5", "-J", *direction)
    result = json.loads(
        run("iperf3", "-c", "127.0.0.1", "-p", str(server.port), *options)
    )
    assert all(each["sum"]["bytes"] for each in result["intervals"])
    streams = result["end"]["streams"]
    assert len(streams) == 4
    assert all(each["receiver"]["bytes"] for each in streams)
    assert spliced_part(server) > 0.9


def spliced_part(server: Server) -> float:
    """Return how much of all was spliced, as the relay tells at its end."""
    assert server.stop() == 0
    told = re.search(r"(\d+) bytes spliced, (\d+) copied", server.log.read_text())
    assert told
    return int(told[1]) / (int(told[1]) + int(told[2]))

"""Behind nginx, by the configurations in deploy/nginx, which are the documentation."""

import gzip
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Protocol

import pytest

from fronts import CLIENT, HOST, JSON, MAIN, PORT, Answer, ask, line_of, lines_of
from running import Serve, Server, wait_until
from sendfile_server.config import Config
from sendfile_server.options import options
from tools import give_up, need

pytestmark = pytest.mark.e2e

CONFIGS = Path(__file__).parents[2] / "deploy" / "nginx"
MIB = 1024 * 1024


class Nginx(Protocol):
    """Starts nginx; see `nginx`."""

    def __call__(self, name: str, **replaced: str) -> None: ...


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Run nginx with a configuration of ours, but for its addresses and paths."""
    need("nginx")
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, **replaced: str) -> None:
        text = MAIN.format(folder=tmp_path, included=(CONFIGS / name).read_text())
        text = text.replace("listen 80;", f"listen {HOST}:{PORT};")
        text = text.replace("/var/cache", str(tmp_path))
        for there, here in replaced.items():
            assert there in text
            text = text.replace(there, here)
        config = tmp_path / "nginx.conf"
        config.write_text(text)
        log = tmp_path / "nginx.log"
        command = ["nginx", "-e", str(log), "-p", str(tmp_path), "-c", str(config)]
        started.append(subprocess.Popen(command))

        def is_up() -> bool:
            assert started[0].poll() is None, log.read_text()
            return (tmp_path / "pid").exists() and ask("/").status > 0

        wait_until(is_up, "nginx")

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def place_of(server: Server) -> dict[str, str]:
    """Return what to replace in a configuration, to find *server*."""
    return {"127.0.0.1:8080": f"127.0.0.1:{server.port}"}


def test_client_and_request_id_are_told(
    serve: Serve, nginx: Nginx, site: Path, tmp_path: Path
) -> None:
    """The log has nginx's client, whatever that one claims, and nginx's request id."""
    log = tmp_path / "access.log"
    server = serve(
        site,
        *("--client-address", "x-forwarded-for", "--trusted-proxy", "127.0.0.1"),
        *("--access-log", str(log), "--access-log-format", "json", "--workers", "1"),
    )
    nginx("proxy.conf", **place_of(server))
    forged = {"X_Forwarded_For": "192.0.2.6", "Forwarded": "for=192.0.2.6"}
    assert ask("/hello.txt", X_Request_ID="theirs", **forged).status == 200

    line = line_of(log, "/hello.txt")
    assert (line["client"], line["peer"]) == (CLIENT, "127.0.0.1")
    assert line["host"] == HOST
    assert len(line["request_id"]) == 32


def test_connections_are_kept(serve: Serve, nginx: Nginx, site: Path) -> None:
    """One connection to the upstream has all of them, one after the other."""
    server = serve(site, "--workers", "1", "--keepalive-requests", "1000")
    nginx("proxy.conf", **place_of(server))

    def ports() -> set[str]:
        command = ("ss", "-Htn", "state", "established", f"sport = :{server.port}")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {line.split()[3] for line in done.stdout.splitlines()}

    ask("/hello.txt")
    before = ports()
    for _ in range(20):
        assert ask("/hello.txt").body == b"hello\n"
    assert ports() == before
    assert len(before) == 1


def test_cache_asks_again_by_the_tag(
    serve: Serve, nginx: Nginx, site: Path, tmp_path: Path
) -> None:
    """What is old is confirmed by a 304, and what has changed is fetched."""
    log = tmp_path / "access.log"
    server = serve(site, "--workers", "1", "--access-log", str(log), *JSON)
    nginx("cache.conf", **place_of(server), **{"200 10m": "200 1s"})

    def ask_until(status: str) -> Answer:
        answers: list[Answer] = []

        def has_come() -> bool:
            answers.append(ask("/hello.txt"))
            return answers[-1].fields["x-cache-status"] == status

        wait_until(has_come, status)
        return answers[-1]

    assert ask_until("MISS").body == b"hello\n"
    assert ask_until("HIT").body == b"hello\n"
    assert ask_until("REVALIDATED").body == b"hello\n"
    line_of(log, "/hello.txt", 304)
    (site / "hello.txt").write_bytes(b"changed\n")
    assert ask_until("EXPIRED").body == b"changed\n"


def test_slices_are_fetched_one_by_one(
    serve: Serve, nginx: Nginx, site: Path, tmp_path: Path
) -> None:
    """A range across two slices fetches these, and the whole file the others."""
    log = tmp_path / "access.log"
    data = os.urandom(3 * MIB + 5)
    (site / "big.bin").write_bytes(data)
    server = serve(site, "--workers", "1", "--access-log", str(log), *JSON)
    nginx("slice.conf", **place_of(server))
    part = ask("/big.bin", Range=f"bytes={MIB - 1}-{MIB}")

    assert (part.status, part.body) == (206, data[MIB - 1 : MIB + 1])
    assert part.fields["content-range"] == f"bytes {MIB - 1}-{MIB}/{len(data)}"
    assert ask("/big.bin").body == data
    wait_until(lambda: log.read_text().count("/big.bin") == 4, "four slices")
    sizes = [line["bytes"] for line in lines_of(log) if line["target"] == "/big.bin"]
    assert sizes == [MIB, MIB, MIB, 5]


def test_weak_tag_of_gzip_is_ours(serve: Serve, nginx: Nginx, site: Path) -> None:
    """What nginx compressed has a weak tag, and asking with it gets a 304."""
    (site / "long.txt").write_bytes(b"long " * 1000)
    server = serve(site)
    nginx("gzip.conf", **place_of(server))
    packed = ask("/long.txt", Accept_Encoding="gzip")
    plain = ask("/long.txt")

    assert packed.fields["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.fields["etag"] == "W/" + plain.fields["etag"]
    again = ask(
        "/long.txt", Accept_Encoding="gzip", If_None_Match=packed.fields["etag"]
    )
    assert (again.status, again.body) == (304, b"")


def test_host_is_passed_on(serve: Serve, nginx: Nginx, site: Path) -> None:
    """A redirect stays at the host that the client asked."""
    server = serve(site)
    nginx("proxy.conf", **place_of(server))
    answer = ask("/dir", Host="www.example.com")

    assert answer.status == 308
    assert answer.fields["location"] in ("/dir/", "http://www.example.com/dir/")


def test_site_stays_below_its_path(serve: Serve, nginx: Nginx, site: Path) -> None:
    """Redirects do not lead out of it, and nothing else is passed on."""
    server = serve(site, "--base-path", "/static/")
    nginx("base-path.conf", **place_of(server))

    assert ask("/static/hello.txt").body == b"hello\n"
    assert ask("/static/dir/").body == b"DIR\n"
    answer = ask("/static/dir?q")
    assert (answer.status, answer.fields["location"]) == (308, "/static/dir/?q")
    assert ask("/hello.txt").status == 404
    assert ask("/static/../hello.txt").status == 404


def test_somebody_else_decides(serve: Serve, nginx: Nginx, site: Path) -> None:
    """With auth_request, who may not see a file does not."""

    class Decides(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            may = "Authorization" in self.headers
            self.send_response(204 if may else 401)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as theirs
            pass

    server = serve(site)
    with ThreadingHTTPServer(("127.0.0.1", 0), Decides) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        there = f"127.0.0.1:{other.server_port}"
        nginx("auth.conf", **place_of(server), **{"127.0.0.1:9000": there})

        assert ask("/hello.txt").status == 401
        allowed = ask("/hello.txt", Authorization="x")
        assert (allowed.status, allowed.body) == (200, b"hello\n")
        other.shutdown()


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """Make a folder that all users find their way to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("group", ["www-data", "root"])
def test_unix_socket(
    serve: Serve, nginx: Nginx, site: Path, common_folder: Path, group: str
) -> None:
    """Without a port, and the client is known all the same; for nginx's group only."""
    if os.geteuid():
        give_up("not root")
    log, path = common_folder / "access.log", str(common_folder / "site.sock")
    serve(
        site,
        *("--listen", f"unix:{path}", "--trusted-proxy", "unix:"),
        *("--socket-owner", f":{group}", "--socket-mode", "0660"),
        *("--client-address", "x-forwarded-for"),
        *("--access-log", str(log), *JSON),
    )
    as_www_data = {"master_process off;": "user www-data;"}
    nginx("unix.conf", **{"/run/sendfile-serve/site.sock": path}, **as_www_data)

    answer = ask("/hello.txt")
    if group == "root":
        assert answer.status == 502
    else:
        assert answer.body == b"hello\n"
        line = line_of(log, "/hello.txt")
        assert (line["client"], line["peer"]) == (CLIENT, "unix:")


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.conf")), ids=lambda p: p.name)
def test_configuration_names_options_that_there_are(config: Path) -> None:
    """The command in the comment of each is one that can be run."""
    lines = [line[1:].strip() for line in config.read_text().splitlines()]
    text = " ".join(line for line in lines if line).replace("\\", "")
    known = {f"--{name.replace('_', '-')}" for name in options(Config)}

    assert set(re.findall(r"--[a-z-]+", text)) <= known

"""The scenarios that wrk drives: one row each."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from benchmarks import BenchmarkError, trees
from benchmarks.load import HOST, Figures, Load, measure
from benchmarks.peers import BOUND_MIB
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session
from benchmarks.wire import fetch

# With other settings for small files, and for large ones.
NGINX = ("nginx", "nginx-copy")
NGINX_ANY = (*NGINX, "nginx-uncorked")
BEST_OF_THREE = (*NGINX, "lighttpd", "h2o")

_NOISE = Target(figure=None, of="ours-again", against=("ours",))
_AS_NGINX = (
    *(Target(figure=1.0, against=(entry,)) for entry in NGINX),
    Target(figure=1.0, against=BEST_OF_THREE, is_aim=True),
    _NOISE,
)
# A setting is a rival with both of its figures: what it saves of the one, it may
# have lost of the other.
_AS_FAST_AS = (
    *(
        target
        for entry in NGINX_ANY
        for target in (
            Target(figure=1.0, against=(entry,)),
            Target(
                figure=1.0,
                against=(entry,),
                measure="requests_per_s",
                is_at_least=True,
            ),
        )
    ),
    # What nothing but the kernel's part of it takes.
    Target(figure=None, against=("floor-sendfile",)),
    _NOISE,
)
_OURS = ("ours", "ours-again")
_SERVERS = (*_OURS, *BEST_OF_THREE)

MIDDLE = 500_000_000
"""Where in the great file a range is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One request before measuring, and what must come back, to the byte."""

    path: str
    fields: tuple[str, ...] = ()
    status: int = 200
    file: str = ""
    """The file whose bytes the body is; empty if that is the server's affair."""
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario of wrk."""

    name: str
    what: str
    load: Load
    probes: tuple[Probe, ...]
    contenders: tuple[str, ...]
    targets: tuple[Target, ...]
    pieces: tuple[str, ...] = ("1k.bin",)
    """The parts of the tree that it needs."""
    warms: str = ""
    """A file, or a folder of them, that must be in the page cache."""
    revalidates: bool = False
    """Whether each server is sent its own ETag back."""


def _sized(
    name: str, size: str, connections: int, *, counts_bytes: bool = False
) -> Row:
    file = f"{name}.bin"
    return Row(
        name=f"hot-{name}",
        what=f"one file of {size}, {connections} connections",
        load=Load(path=f"/{file}", connections=connections, counts_bytes=counts_bytes),
        probes=(Probe(path=f"/{file}", file=file),),
        contenders=(*_OURS, *NGINX_ANY, "lighttpd", "h2o", "floor-sendfile"),
        targets=_AS_FAST_AS,
        pieces=(file,),
        warms=file,
    )


_ONE_KIB = (Probe(path="/1k.bin", file="1k.bin"),)

HOT_1K = Row(
    name="hot-1k",
    what="one file of 1 KiB, 64 connections, the same head",
    load=Load(path="/1k.bin"),
    probes=_ONE_KIB,
    contenders=(
        *(*_SERVERS, "ours-no-memory", "nginx-aio", "lighttpd-inotify"),
        *("floor-send", "floor-sendfile"),
    ),
    targets=(
        Target(figure=1.0, against=BEST_OF_THREE),
        Target(figure=1.25, against=("floor-send",)),
        _NOISE,
    ),
)
HOT_1M = _sized("1m", "1 MiB", 16, counts_bytes=True)

ROWS = (
    HOT_1K,
    Row(
        name="hot-1k-log",
        what="the same, with an access log",
        load=Load(path="/1k.bin"),
        probes=_ONE_KIB,
        contenders=("ours-log", "nginx-log"),
        targets=(Target(figure=1.0, of="ours-log", against=("nginx-log",)),),
    ),
    Row(
        name="unique-heads",
        what="1 KiB, heads of browsers, each one unique",
        load=Load(path="/1k.bin", script="unique_heads"),
        probes=_ONE_KIB,
        contenders=_SERVERS,
        targets=_AS_NGINX,
    ),
    Row(
        name="not-modified",
        what="304 for If-None-Match",
        load=Load(path="/1k.bin"),
        probes=(Probe(path="/1k.bin", status=304),),
        contenders=_SERVERS,
        targets=_AS_NGINX,
        revalidates=True,
    ),
    Row(
        name="not-found",
        what="404",
        load=Load(path="/nothing-here.bin", is_error=True),
        probes=(Probe(path="/nothing-here.bin", status=404),),
        contenders=_SERVERS,
        targets=_AS_NGINX,
    ),
    _sized("16k", "16 KiB", 64),
    _sized("64k", "64 KiB", 64),
    HOT_1M,
    _sized("100m", "100 MiB", 4, counts_bytes=True),
    Row(
        name="random-ranges",
        what="4 KiB anywhere in a file of 1 GiB, each range once",
        load=Load(path="/1g.bin", script="random_ranges"),
        probes=(
            Probe(
                path="/1g.bin",
                fields=(f"Range: bytes={MIDDLE}-{MIDDLE + 4095}",),
                status=206,
                file="1g.bin",
                start=MIDDLE,
                stop=MIDDLE + 4096,
            ),
        ),
        contenders=_SERVERS,
        targets=(
            *(Target(figure=1.1, against=(entry,)) for entry in NGINX),
            _NOISE,
        ),
        pieces=("1g.bin",),
        warms="1g.bin",
    ),
    Row(
        name="zipf",
        what="Zipf (s = 1) over 100,000 files of 1 KiB",
        # Entity tags differ in length with some servers.
        load=Load(path="/", script="zipf", slack=12),
        probes=tuple(
            Probe(path=f"/{trees.zipf_path(number)}", file=trees.zipf_path(number))
            for number in (0, 12_345, trees.ZIPF_FILES - 1)
        ),
        # lighttpd keeps descriptors of all it served lately, and runs out of them.
        contenders=("ours-bounded", *NGINX, "h2o"),
        targets=(
            *(
                Target(figure=1.2, of="ours-bounded", against=(entry,))
                for entry in NGINX
            ),
            Target(figure=BOUND_MIB + 40, of="ours-bounded", measure="rss_mib"),
        ),
        pieces=("zipf",),
        warms="zipf",
    ),
    Row(
        name="new-connections",
        what="1 KiB, a connection for every request",
        load=Load(path="/1k.bin", fields=("Connection: close",)),
        probes=(Probe(path="/1k.bin", fields=("Connection: close",), file="1k.bin"),),
        contenders=_SERVERS,
        targets=_AS_NGINX,
    ),
    Row(
        name="python-peers",
        what="one file of 1 KiB, 64 connections, the same head",
        load=Load(path="/1k.bin"),
        probes=_ONE_KIB,
        contenders=(
            *_OURS,
            *("granian", "granian-static", "uvicorn", "aiohttp", "aiohttp-uvloop"),
            *("http.server", "go", "caddy"),
        ),
        targets=tuple(
            Target(figure=25, against=(peer,), is_inverse=True, is_at_least=True)
            for peer in ("granian", "uvicorn", "aiohttp")
        )
        + tuple(
            Target(figure=None, against=(peer,), is_inverse=True)
            for peer in ("granian-static", "aiohttp-uvloop", "http.server")
        )
        + tuple(
            Target(figure=None, against=(peer,), is_inverse=True)
            for peer in ("go", "caddy")
        ),
    ),
)

BY_NAME = {row.name: row for row in ROWS}


def make_scenario(row: Row) -> Scenario:
    """Return the scenario that a row describes."""
    return Scenario(
        name=row.name,
        what=row.what,
        contenders=row.contenders,
        play=functools.partial(_play, row),
        targets=row.targets,
        settings={
            "load": asdict(row.load),
            "server_cpus": [0],
            "client_cpus": [1],
            "client": "wrk",
        },
    )


def _play(row: Row, session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    root = session.tree(*row.pieces)
    file = root / row.load.path[1:]
    if row.warms:
        trees.read_through(root / row.warms)
    with session.start_all(contenders, root, file=file) as servers:
        yield from take_turns(session, servers, row)


def take_turns(
    session: Session, servers: Mapping[str, Server], row: Row
) -> Iterator[Round]:
    """Put the load of *row* on *servers*, which are checked first, in turns."""
    loads = {name: prepare(server, row) for name, server in servers.items()}

    def turn(name: str, server: Server, number: int) -> Figures:
        load, size = loads[name]
        return measure(server, load, size, seconds=session.seconds, seed=number)

    yield from session.take_turns(servers, turn)


def prepare(server: Server, row: Row) -> tuple[Load, int]:
    """Check what *server* answers; return what to send it, and a response's size.

    Raises BenchmarkError if a status, a length or a byte is not as it must be.
    """
    load = row.load
    extra: tuple[str, ...] = ()
    if row.revalidates:
        tag = fetch(server.port, load.path, (HOST,)).field("ETag")
        if not tag:
            raise BenchmarkError(f"{server.name} sends no ETag")
        extra = (f"If-None-Match: {tag}",)
        load = replace(load, fields=(*load.fields, *extra))
    sizes = [_probe(server, probe, extra) for probe in row.probes]
    if max(sizes) - min(sizes) > load.slack:
        raise BenchmarkError(f"{server.name}: responses of {sizes} bytes")
    return load, max(sizes)


def _probe(server: Server, probe: Probe, extra: tuple[str, ...]) -> int:
    response = fetch(server.port, probe.path, (HOST, *probe.fields, *extra))
    if response.status != probe.status:
        raise BenchmarkError(f"{server.name}: {response.status} for {probe}")
    if probe.file:
        with (server.root / probe.file).open("rb") as file:
            file.seek(probe.start)
            count = -1 if probe.stop is None else probe.stop - probe.start
            expected = hashlib.sha256(file.read(count)).digest()
        if hashlib.sha256(response.body).digest() != expected:
            raise BenchmarkError(f"{server.name}: another body for {probe}")
    return response.size

"""What a log, and all else that a server in use has, adds to a hot request.

All get the head that a proxy sends, though only some make anything of it.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace

from benchmarks import trees
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.with_wrk import HOT_1K, Probe, take_turns
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session

_FOLDER = "tree"
_FILE = f"{_FOLDER}/1k.bin"
ROW = replace(
    HOT_1K,
    load=replace(
        HOT_1K.load,
        path=f"/{_FILE}",
        fields=("X-Forwarded-For: 192.0.2.1, 127.0.0.1", "User-Agent: wrk"),
    ),
    probes=(Probe(path=f"/{_FILE}", file=_FILE),),
)

_LOG = ("--access-log", "@run@/access.log")
_REST = (
    *("--client-address", "x-forwarded-for", "--trusted-proxy", "127.0.0.1"),
    *("--metrics", "unix:@run@/metrics", "--etag", "content"),
    *("--base-path", f"/{_FOLDER}/"),
)
OPTIONS = {
    "ours": (),
    "ours-again": (),
    "ours@log": _LOG,
    "ours@JSON-log": (*_LOG, "--access-log-format", "json"),
    "ours@all-but-log": _REST,
    "ours@all": (*_LOG, *_REST),
}


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Load them all, where those with a base path serve the folder that it names."""
    folder = session.tree("1k.bin")
    root = folder.parent
    trees.read_through(root / _FILE)
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in contenders:
            options = OPTIONS[name]
            place = folder if "--base-path" in options else root
            servers[name] = stack.enter_context(
                session.start(name, place, options=options)
            )
            servers[name].root = root  # where its files are for us
        yield from take_turns(session, servers, ROW)


SCENARIO = Scenario(
    name="in-use",
    what="1 KiB, 64 connections, the same head, from a proxy",
    contenders=tuple(OPTIONS),
    play=play,
    targets=(
        Target(figure=1.15, of="ours@log", against=("ours",)),
        Target(figure=None, of="ours@JSON-log", against=("ours",)),
        Target(figure=1.1, of="ours@all-but-log", against=("ours",)),
        Target(figure=1.1, of="ours@all", against=("ours@log",)),
        Target(figure=None, of="ours-again", against=("ours",)),
    ),
    settings={
        "load": asdict(ROW.load),
        "options": OPTIONS,
        "server_cpus": [0],
        "client_cpus": [1],
        "client": "wrk",
    },
)

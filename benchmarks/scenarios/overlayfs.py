"""The same files on overlayfs, as in a container.

It can't tell what is in memory, as other file systems can.
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks import trees
from benchmarks.overlays import overlay
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.with_wrk import HOT_1K, HOT_1M, Row, take_turns
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session

OVERLAID = "ours@overlayfs"


def play(row: Row, session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Put the load of *row* on servers of which one has its files on overlayfs."""
    root = session.tree(*row.pieces)
    trees.read_through(root / row.load.path[1:])
    with contextlib.ExitStack() as stack:
        above = stack.enter_context(overlay(session.cache, root))
        servers: dict[str, Server] = {}
        for name in contenders:
            is_above = name == OVERLAID
            servers[name] = stack.enter_context(
                session.start(
                    name,
                    above.root if is_above else root,
                    wrapper=above.wrapper if is_above else (),
                )
            )
            if is_above:
                above.check(servers[name].process.pid)
                servers[name].root = root  # where its files are for us
        yield from take_turns(session, servers, row)


def _make(size: str, row: Row) -> Scenario:
    return Scenario(
        name=f"overlayfs-{size}",
        what=f"{row.what}, on overlayfs",
        contenders=("ours", "ours-again", OVERLAID),
        play=functools.partial(play, row),
        targets=(
            Target(figure=1.05, of=OVERLAID, against=("ours",)),
            Target(figure=None, of="ours-again", against=("ours",)),
        ),
        settings={
            "load": asdict(row.load),
            "server_cpus": [0],
            "client_cpus": [1],
            "client": "wrk",
        },
    )


SCENARIOS = (_make("1k", HOT_1K), _make("1m", HOT_1M))

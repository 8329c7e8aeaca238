"""Servers that take turns: what a scenario needs of the harness while it runs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import servers, trees
from benchmarks.load import Figures
from benchmarks.peers import PEERS, find_version, settings
from benchmarks.servers import Server

Round = dict[str, Figures]
"""The figures of every server in one round, in the order in which they came."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One run of the command: its settings, and what it found installed."""

    rounds: int
    seconds: int
    cache: Path
    say: Callable[[str], None]
    only: frozenset[str] = frozenset()
    """The peers to measure beside ours; empty for all."""
    versions: dict[str, str | None] = field(default_factory=dict)

    def version(self, contender: str) -> str | None:
        """Return the version of a contender's server, or None if it is missing."""
        name = peer_name(contender)
        if name not in self.versions:
            self.versions[name] = find_version(PEERS[name])
        return self.versions[name]

    def choose(self, contenders: tuple[str, ...]) -> tuple[str, ...]:
        """Return those that are wanted and installed."""
        return tuple(
            each
            for each in contenders
            if self.version(each) is not None and self._is_wanted(peer_name(each))
        )

    def tree(self, *pieces: str) -> Path:
        """Return the directory to serve, with *pieces* in it."""
        return trees.make_tree(self.cache, pieces)

    def describe(self, contender: str) -> dict[str, str | None]:
        """Return what a result says about a server; no path of this machine."""
        peer = PEERS[peer_name(contender)]
        return {
            "title": title(contender),
            "version": self.version(contender),
            "command": peer.command,
            "settings": settings(peer),
        }

    @contextlib.contextmanager
    def start(  # noqa: PLR0913 - what a server is started with
        self,
        contender: str,
        root: Path = servers.UNUSED,
        *,
        cpus: tuple[int, ...] = (0,),
        file: Path = servers.UNUSED,
        target: int = 0,
        options: tuple[str, ...] = (),
        wrapper: tuple[str, ...] = (),
    ) -> Iterator[Server]:
        """Run a contender's server within a ``with`` block; see `servers.start`."""
        server = servers.start(
            peer_name(contender),
            root,
            self.cache,
            cpus=cpus,
            file=file,
            target=target,
            options=options,
            wrapper=wrapper,
        )
        try:
            yield server
        finally:
            server.stop()

    @contextlib.contextmanager
    def start_all(
        self,
        contenders: tuple[str, ...],
        root: Path,
        *,
        file: Path = servers.UNUSED,
    ) -> Iterator[dict[str, Server]]:
        """Run all of them within a ``with`` block, each on the first CPU."""
        with contextlib.ExitStack() as stack:
            yield {
                name: stack.enter_context(self.start(name, root, file=file))
                for name in contenders
            }

    def take_turns(
        self,
        contenders: Mapping[str, Server],
        measure: Callable[[str, Server, int], Figures],
    ) -> Iterator[Round]:
        """Measure each server once a round, in another order each time.

        *measure* is given the contender, its server, and the round's number, which
        is 0 for a round that warms up and is not counted.
        """
        for number in range(self.rounds + 1):
            figures: Round = {}
            for name in turn_order(tuple(contenders), number):
                contenders[name].check()
                figures[name] = measure(name, contenders[name], number)
            if number:
                yield figures

    def _is_wanted(self, name: str) -> bool:
        return not self.only or name.startswith("ours") or name in self.only


def peer_name(contender: str) -> str:
    """Return the peer that *contender* is: ``ours@overlayfs`` is ``ours``."""
    return contender.partition("@")[0]


def title(contender: str) -> str:
    """Return what a reader calls a contender."""
    name, _, where = contender.partition("@")
    return f"{PEERS[name].title} ({where})" if where else PEERS[name].title


def turn_order(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Return the order of a round: everyone starts, and precedes everyone, in turn."""
    shift = number // 2 % len(names)
    rotated = names[shift:] + names[:shift]
    return rotated[::-1] if number % 2 else rotated

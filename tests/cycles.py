"""Find what nobody has any more, and only a collector would let go of."""

import os
from pathlib import Path

# Counts what the collector finds, which has not been at work before, whenever it is
# asked to: by who opens one pipe and closes it, and reads the other.
COLLECTOR = """
import gc, os, threading

def watch():
    gc.disable()
    threading.Thread(target=tell, daemon=True).start()

def tell():
    while True:
        with open({ask!r}) as ask:
            ask.read()
        planted = []
        planted.append(planted)
        del planted  # to see that it is found
        count = gc.collect() - 1
        with open({told!r}, "w") as told:
            told.write(str(count))

os.register_at_fork(after_in_child=watch)
"""


class Collector:
    """Asks a worker what its collector finds."""

    def __init__(self, folder: Path) -> None:
        """Prepare, with files of its own in *folder*."""
        own = folder / "collector"
        own.mkdir()
        self._ask, self._told = own / "ask", own / "told"
        os.mkfifo(self._ask)
        os.mkfifo(self._told)
        pipes = {"ask": str(self._ask), "told": str(self._told)}
        (own / "sitecustomize.py").write_text(COLLECTOR.format(**pipes))
        self.prefix = ("env", f"PYTHONPATH={own}")
        """Of the command of a server with one worker."""

    def count(self) -> int:
        """Return how many objects are in cycles that nobody has any more."""
        self._ask.write_bytes(b"")
        return int(self._told.read_text())

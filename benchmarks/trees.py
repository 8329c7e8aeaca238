"""The files that are served: made once, kept in a cache, reused if right.

Contents are pseudo-random, so that no part of a file can pass for another, and
every file has the same old time of modification, so that its validators are
strong everywhere.
"""

import os
import random
from collections.abc import Iterable
from pathlib import Path

KIB, MIB, GIB = 1024, 1024**2, 1024**3
ZIPF_FILES = 100_000

COLD = tuple(
    tuple(f"cold-{group}-{number}.bin" for number in range(4)) for group in range(4)
)
"""Groups of files, so that each of several servers has some that no other reads."""

_MODIFIED = 1_735_689_600  # the first of 2025
_SINGLE = {
    "1k.bin": KIB,
    "16k.bin": 16 * KIB,
    "64k.bin": 64 * KIB,
    "1m.bin": MIB,
    "64m.bin": 64 * MIB,
    "100m.bin": 100 * MIB,
    "256m.bin": 256 * MIB,
    "1g.bin": GIB,
    **{name: 32 * MIB for group in COLD for name in group},
}


def default_cache() -> Path:
    """Return where trees and programs are kept unless told otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sendfile-server-benchmarks"


def make_tree(cache: Path, pieces: tuple[str, ...]) -> Path:
    """Make what is missing of *pieces*, and return the directory to serve.

    A piece is the name of a single file, or ``zipf``.
    """
    root = cache / "tree"
    root.mkdir(parents=True, exist_ok=True)
    for piece in pieces:
        _make_zipf(root) if piece == "zipf" else _make_file(root, piece, _SINGLE[piece])
    return root


def zipf_path(number: int) -> str:
    """Return the path of one of the many small files, below the root."""
    return f"zipf/{number // 1000:02d}/{number:05d}.bin"


def read_through(path: Path) -> None:
    """Bring a file, or all files of a folder, into the page cache."""
    for each in path.rglob("*.bin") if path.is_dir() else (path,):
        with each.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass


def _make_file(root: Path, name: str, size: int) -> None:
    path = root / name
    if not _is_made(path, size):
        source = random.Random(name)  # noqa: S311 - contents, not secrets
        count, rest = divmod(size, MIB)
        sizes = [MIB] * count + [rest] * bool(rest)
        _write(path, (source.randbytes(each) for each in sizes))


def _make_zipf(root: Path) -> None:
    # The last one is written last: it is there only if all are.
    if _is_made(root / zipf_path(ZIPF_FILES - 1), KIB):
        return
    source = random.Random("zipf")  # noqa: S311 - contents, not secrets
    for number in range(ZIPF_FILES):
        path = root / zipf_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, [source.randbytes(KIB)])


def _is_made(path: Path, size: int) -> bool:
    if not path.is_file():
        return False
    found = path.stat()
    return (found.st_size, int(found.st_mtime)) == (size, _MODIFIED)


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(blocks)
    os.utime(path, (_MODIFIED, _MODIFIED))

"""Find the real parts that tests drive, and run them; in CI, each must be there."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def give_up(message: str) -> NoReturn:
    """Skip the test for want of a part of the machine, except in CI: there, fail."""
    if "CI" in os.environ:
        pytest.fail(message)
    pytest.skip(message)


def need(*programs: str) -> None:
    """Give up for want of a program."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        give_up(f"not installed: {', '.join(missing)}")


def need_folder(folder: Path) -> None:
    """Give up for want of a folder."""
    if not folder.is_dir():
        give_up(f"not there: {folder.name}")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program to its end, show what it says if it fails, return its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"LC_ALL": "C", "no_proxy": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digest(file: Path) -> str:
    """Return the hash of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

"""Find the real parts that tests drive; in CI, each of them must be there."""

import os
import shutil
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

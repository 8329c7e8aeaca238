"""Find the real programs that tests drive."""

import os
import shutil
from pathlib import Path

import pytest


def need(*programs: str) -> None:
    """Skip the test for want of a program, except in CI, where it fails."""
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return
    message = f"not installed: {', '.join(missing)}"
    if "CI" in os.environ:
        pytest.fail(message)
    pytest.skip(message)


def need_folder(folder: Path) -> None:
    """Do the same for want of a folder."""
    if folder.is_dir():
        return
    if "CI" in os.environ:
        pytest.fail(f"not there: {folder.name}")
    pytest.skip(f"not there: {folder.name}")

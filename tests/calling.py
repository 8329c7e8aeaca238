"""Our commands, called in the process of the tests, which takes no start for each."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import NoReturn

import pytest

Done = subprocess.CompletedProcess[str]


@contextmanager
def called_with(*arguments: str) -> Iterator[pytest.MonkeyPatch]:
    """Have these arguments, and no option of ours in the environment."""
    ours = [each for each in os.environ if each.startswith(("SENDFILE_", "SPLICE_"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *arguments])
        for name in ours:
            patch.delenv(name)
        yield patch


def check(main: Callable[[], NoReturn], *arguments: str) -> Done:
    """Call a command with ``--check``, so that nothing is started."""
    out, err = io.StringIO(), io.StringIO()
    with (
        called_with(*arguments, "--check"),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return Done(arguments, code, out.getvalue(), err.getvalue())


def assert_refused(program: str, done: Done, words: str) -> None:
    """Check for exit code 2, and one line of *program* with *words*."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{program}: ")
    assert words in done.stderr

"""Who may import whom, and who may touch what: the shape of DESIGN as a test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "sendfile_server"
TOP = Path(__file__).parents[1] / PACKAGE
PURE = ("semantics", "protocol", "response")

# Each part of the package, and the parts that it may import beside itself.
MAY_IMPORT = {
    "errors": set(),
    "semantics": {"errors"},
    "protocol": {"errors", "semantics"},
    "resource": {"errors", "semantics"},
    "response": {"errors", "semantics"},
    "transport": {"errors", "semantics"},
    "options": set(),
    "config": {"errors", "options", "semantics"},
    "hosting": {"config", "errors", "options", "transport"},
    "monitoring": {
        *("errors", "hosting", "semantics"),
        *("protocol", "response", "transport"),
    },
    "server": {
        *("config", "errors", "hosting", "monitoring", "options", "semantics"),
        *("protocol", "resource", "response", "transport"),
    },
    "relay": {"config", "errors", "hosting", "monitoring", "options", "transport"},
    "cli": {"", "config", "errors", "options", "relay", "server"},
    "probe": {"", "options"},
    "__main__": {"cli"},
    "": set(),
}

# Each library or kernel interface, and the files or folders that may import it.
MAY_TOUCH = {
    "h11": {"protocol/parser.py"},
    "uvloop": {"hosting/worker.py"},
    "click": {"cli.py"},
    "prometheus_client": {"monitoring/exposition.py"},
    "socket": {
        *("transport/", "hosting/", "monitoring/", "server/", "relay/", "probe.py"),
    },
    "os": {"resource/", "transport/", "hosting/", "server/", "relay/"},
    "ctypes": {"resource/", "transport/lending.py", "transport/pipes.py"},
    "threading": {"hosting/", "server/", "relay/archive.py", "probe.py"},
    "asyncio": {"hosting/", "monitoring/", "server/", "relay/"},
    "signal": {"hosting/"},
}

CLOCKS = {"time.time", "time.monotonic", "datetime.now", "datetime.today"}

FILES = sorted(path.relative_to(TOP).as_posix() for path in TOP.rglob("*.py"))


def tree_of(file: str) -> ast.Module:
    """Return the syntax tree of a file of the package."""
    return ast.parse((TOP / file).read_text())


def imports_of(file: str) -> Iterator[str]:
    """Yield the full name of every module that a file imports."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def part_of(module: str) -> str:
    """Return the part of the package that a module of it belongs to."""
    return module.partition(".")[2].partition(".")[0]


@pytest.mark.parametrize("file", FILES)
def test_stages_import_only_what_they_may(file: str) -> None:
    """Only the composition sees all the stages, and no arrow points back."""
    part = file.removesuffix(".py").partition("/")[0].replace("__init__", "")
    ours = {part_of(name) for name in imports_of(file) if name.startswith(PACKAGE)}

    assert ours - {part} <= MAY_IMPORT[part]


@pytest.mark.parametrize("file", FILES)
def test_libraries_are_touched_in_their_places_only(file: str) -> None:
    """Each library, and each door to the kernel, has its known users."""
    for name in imports_of(file):
        allowed = MAY_TOUCH.get(name.partition(".")[0])
        assert allowed is None or any(file.startswith(place) for place in allowed), name


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith(PURE)])
def test_pure_stages_read_no_clock(file: str) -> None:
    """What they decide depends on the time that they are handed, and no other."""
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }

    assert not used & CLOCKS


@pytest.mark.parametrize("call", ["sendfile", "splice"])
def test_only_the_transport_moves_pages(call: str) -> None:
    """Only the transport calls sendfile(2), and splice(2) if anyone does."""
    callers = {
        file
        for file in FILES
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute)
        and node.attr == call
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }

    assert all(file.startswith("transport/") for file in callers)
    assert callers or call == "splice"

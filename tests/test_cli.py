"""The command: options from three places, and one clear line for a mistake."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from calling import Done, assert_refused, called_with, check
from running import Serve
from sendfile_server import __version__
from sendfile_server.cli import SERVE, main, read_again
from sendfile_server.config import Config
from sendfile_server.errors import ConfigError
from sendfile_server.options import Address, TcpAddress, UnixAddress, options
from tools import need
from wire import fetch

NAMES = {name: name.replace("_", "-") for name in options(Config)}
# A value that each option takes, and that is not its default.
VALUES = {
    "host": "127.0.0.2",
    "port": "0",
    "listen": "127.0.0.1:0",
    "base_path": "/static/",
    "index": "home.html",
    "mime_type": "log=text/plain",
    "etag": "content",
    "freshness": "0",
    "memory": "128",
    "no_memory": "true",
    "access_log": "/dev/null",
    "workers": "1",
    "threads": "2",
    "max_connections": "7",
    "header_timeout": "1.5",
    "keepalive_timeout": "2",
    "send_timeout": "3",
    "keepalive_requests": "5",
    "grace": "0",
    "client_address": "forwarded",
    "trusted_proxy": "10.0.0.0/8",
    "proxy_timeout": "3",
    "socket_mode": "0660",
    "socket_owner": "0:0",
    "log": "/dev/null",
    "access_log_format": "json",
    "metrics": "127.0.0.1:0",
    "log_level": "warning",
}
# What some make no sense without.
BESIDE = {
    "client_address": ("--trusted-proxy", "127.0.0.1"),
    "trusted_proxy": ("--client-address", "proxy"),
}


def run(
    *arguments: str,
    prefix: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> Done:
    """Run the command, which must end by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SENDFILE_SERVE")}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "sendfile_server", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=clean | (environment or {}),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "Missing argument 'DIR'", id="no directory given"),
        pytest.param(("{site}/no",), "No such file", id="directory missing"),
        pytest.param(("{site}/hello.txt",), "Not a directory", id="a file"),
        pytest.param(("{site}", "more"), "unexpected extra argument", id="two"),
        pytest.param(("{site}", "--prot", "1"), "--port", id="unknown option"),
        pytest.param(("{site}", "--port", "65536"), "up to 65535", id="port too high"),
        pytest.param(("{site}", "--port", "-1"), "whole number", id="port below 0"),
        pytest.param(("{site}", "--port", "1_0"), "whole number", id="underscore"),
        pytest.param(("{site}", "--port", "0" * 21 + "99999"), "65535", id="long port"),
        pytest.param(("",), "without a name", id="an empty name"),
        pytest.param(
            ("{site}", "--host", "a b"), "address or a name", id="spaced host"
        ),
        pytest.param(("{site}", "--workers", "0"), "1 up to 1024", id="no workers"),
        pytest.param(("{site}", "--threads", "x"), "whole number", id="not a number"),
        pytest.param(("{site}", "--grace", "1.5"), "whole number", id="not whole"),
        pytest.param(
            ("{site}", "--grace", "9" * 12), "0 up to 2147483648", id="too long"
        ),
        pytest.param(("{site}", "--send-timeout", "0"), "above 0", id="no time at all"),
        pytest.param(("{site}", "--send-timeout", "nan"), "above 0", id="not a time"),
        pytest.param(("{site}", "--index", "a/b"), "file name", id="index with slash"),
        pytest.param(("{site}", "--mime-type", "x"), "EXT=TYPE", id="no type"),
        pytest.param(("{site}", "--mime-type", "x=\r\n"), "EXT=TYPE", id="bad type"),
        pytest.param(("{site}", "--listen", "8080"), "HOST:PORT", id="no host"),
        pytest.param(("{site}", "--listen", "::1:80"), "HOST:PORT", id="bare IPv6"),
        pytest.param(("{site}", "--listen", "unix:"), "some text", id="no path"),
        pytest.param(("{site}", "--socket-mode", "9"), "'--socket-mode'", id="no mode"),
        pytest.param(
            ("{site}", "--socket-owner", "no:no"), "'--socket-owner'", id="no owner"
        ),
        pytest.param(
            ("{site}", "--listen", "[::1]:0", "--port", "1"), "--listen", id="both"
        ),
        pytest.param(("{site}", "--config", "{site}/no"), "No such file", id="no file"),
    ],
)
def test_mistake_is_one_line(
    site: Path, arguments: tuple[str, ...], words: str
) -> None:
    """What can't be done is said in one line, without a traceback, with code 2."""
    assert_refused(
        "sendfile-serve",
        check(main, *(each.format(site=site) for each in arguments)),
        words,
    )


def test_removed_directory_is_refused(tmp_path: Path) -> None:
    """Also as the one that it is started in, which can still be opened."""
    remove = ("sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(tmp_path / "gone"))
    (tmp_path / "gone").mkdir()
    assert_refused("sendfile-serve", run(".", prefix=remove), "cannot serve .: No such")


def test_full_disk_is_one_line() -> None:
    """It is no mistake of whoever asks, so that the code is another one."""
    done = run("--help", prefix=("sh", "-c", 'exec "$@" >/dev/full', "sh"))
    assert done.stderr == "sendfile-serve: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("limit", [6, 8, 12])
def test_too_few_descriptors_are_no_traceback(site: Path, limit: int) -> None:
    """Wherever in starting they run out, it says what has."""
    limited = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh")
    done = run(str(site), "--port", "0", prefix=limited)
    assert done.returncode == 1
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "Missing argument 'DIR'", id="no directory given"),
        pytest.param(
            ("{site}", "--host", "no.such.invalid"),
            "no.such.invalid",
            id="no such host",
        ),
        pytest.param(
            ("{site}", "--host", "192.0.2.1"), "no such address", id="not ours"
        ),
        pytest.param(
            ("{site}", "--access-log", "{site}/no/log"), "cannot write", id="no log"
        ),
    ],
)
def test_mistake_found_at_the_start_is_one_line(
    site: Path, arguments: tuple[str, ...], words: str
) -> None:
    """So is what turns out when it starts, and each ends its process."""
    assert_refused(
        "sendfile-serve", run(*(each.format(site=site) for each in arguments)), words
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("prot = 80", "the nearest is 'port'", id="misspelt"),
        pytest.param("max_connections = 1", "'max-connections'", id="underscore"),
        pytest.param("port = ", "is not TOML", id="broken"),
        pytest.param("qwxyzjk = 1", "no option 'qwxyzjk'\n", id="like no other"),
        pytest.param("port = 1.5", "'port' in {file}: expected a whole", id="a value"),
    ],
)
def test_mistake_in_the_file_is_one_line(
    site: Path, tmp_path: Path, text: str, words: str
) -> None:
    """So is a mistake in the TOML file; a key that is not known gets its nearest."""
    file = tmp_path / "serve.toml"
    file.write_text(text)

    done = run(str(site), "--config", str(file))
    assert_refused("sendfile-serve", done, words.format(file=file))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        # As Kubernetes sets it for a Service of that name.
        pytest.param("SENDFILE_SERVE_PORT", "tcp://10.0.0.1:80", id="a value"),
        pytest.param("SENDFILE_SERVE_NO_MEMORY", "maybe", id="a flag"),
    ],
)
def test_mistake_in_the_environment_names_the_variable(
    site: Path, variable: str, value: str
) -> None:
    """Whoever started it may not know that it is set."""
    done = run(str(site), environment={variable: value})
    assert_refused("sendfile-serve", done, f"{variable} in the environment: ")
    assert repr(value) in done.stderr


@pytest.mark.parametrize("name", ["directory", *options(Config)])
def test_type_that_an_option_never_has_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever TOML has it for, it is not taken for text."""
    default = None if name == "directory" else options(Config)[name].default
    key = NAMES.get(name, name)
    wrong = ["1979-05-27", "{a = 1}", "[[]]", "[true]"]
    wrong += ["1", "'true'", "['true']"] if isinstance(default, bool) else ["true"]
    wrong += [] if isinstance(default, tuple) else ["[]", "['a']", "[1]"]
    file = tmp_path / "serve.toml"
    for value in wrong:
        file.write_text(f"{key} = {value}\n")
        with (
            called_with("--config", str(file)),
            pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: {key} is "),
        ):
            read_again(SERVE)


def test_directory_in_the_file_needs_a_name(tmp_path: Path) -> None:
    """A name that no directory can have is refused before one is looked for."""
    file = tmp_path / "serve.toml"
    file.write_text('directory = "a\\u0000b"')

    assert_refused("sendfile-serve", run("--config", str(file)), "without a name")


def test_unreadable_directory_is_refused(site: Path) -> None:
    """A directory that may not be read is a mistake of the operator."""
    need("setpriv")
    site.chmod(0)
    caps = "-dac_override,-dac_read_search"
    prefix = ("setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}")

    assert_refused(
        "sendfile-serve", run(str(site), "--check", prefix=prefix), "Permission denied"
    )


def test_privileged_port_is_refused(site: Path) -> None:
    """A port that only root may take is said to be one."""
    need("setpriv")
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    port = int(first) - 1
    cap = "-net_bind_service"
    prefix = ("setpriv", f"--bounding-set={cap}", f"--inh-caps={cap}")

    done = run(str(site), "--port", str(port), prefix=prefix)

    assert port > 0, "every port is free for all here"
    assert_refused("sendfile-serve", done, "privileged")


def test_port_is_not_shared(serve: Serve, site: Path) -> None:
    """A second server on the same port fails."""
    port = serve(site).port

    assert_refused(
        "sendfile-serve", run(str(site), "--port", str(port)), "it is in use"
    )


def test_port_zero_is_told(serve: Serve, site: Path) -> None:
    """The start-up line says what is served, where, and how to stop."""
    server = serve(site, "--workers", "1")

    assert server.log.read_text() == (
        f"Serving {site} at http://127.0.0.1:{server.port}/ with 1 worker."
        " Stop with Ctrl-C.\n"
    )


def test_check_opens_no_port(site: Path) -> None:
    """--check says that all is well, even while the port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(str(site), "--check", "--port", str(taken.getsockname()[1]))

    assert (done.returncode, done.stdout) == (0, "")
    assert "valid" in done.stderr


def test_version_is_told() -> None:
    """--version names the command and the version."""
    assert run("--version").stdout == f"sendfile-serve, version {__version__}\n"


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_lists_everything(asked: str) -> None:
    """The help has every option below a heading, in lines of 80 columns."""
    text = run(asked, environment={"COLUMNS": "200"}).stdout
    assert "DIR is SENDFILE_SERVE_DIRECTORY" in " ".join(text.split())

    assert max(map(len, text.splitlines())) <= 80
    for name, option in options(Config).items():
        heading = text.index(f"\n{option.group}:\n")
        assert text.index(f"\n  --{NAMES[name]} ") > heading


@pytest.mark.parametrize("name", options(Config))
def test_option_comes_from_anywhere(site: Path, tmp_path: Path, name: str) -> None:
    """Each option is taken from the command line, the environment and the file."""
    value = VALUES[name]
    stated = options(Config)[name]
    is_flag = isinstance(stated.default, bool)
    line = (f"--{NAMES[name]}", *(() if is_flag else (value,)))
    is_number = value.isdigit() and not value.startswith("0")  # as TOML has it
    is_bare = is_number or is_flag
    file = tmp_path / "serve.toml"
    file.write_text(f"{NAMES[name]} = {value if is_bare else repr(value)}\n")
    given = (str(site), *BESIDE.get(name, ()))
    with called_with(*given, *line):
        by_line = read_again(SERVE)
    with called_with(*given, "--config", str(file)):
        by_file = read_again(SERVE)
    with called_with(*given) as patch:
        patch.setenv(f"SENDFILE_SERVE_{name.upper()}", value)
        by_variable = read_again(SERVE)

    assert by_line == by_file == by_variable
    assert getattr(by_line, name) != stated.default


def test_directory_comes_from_anywhere(site: Path) -> None:
    """What is given by its place is a variable too, and the place wins."""
    variable = {"SENDFILE_SERVE_DIRECTORY": str(site)}
    missing = {"SENDFILE_SERVE_DIRECTORY": "/no"}

    assert run("--check", environment=variable).returncode == 0
    assert run("--check", str(site), environment=missing).returncode == 0
    assert_refused(
        "sendfile-serve", run("--check", environment=missing), "cannot serve /no"
    )


@pytest.mark.parametrize(
    ("line", "variable", "winner"),
    [
        pytest.param("line", "variable", "line", id="the command line first"),
        pytest.param(None, "variable", "variable", id="then the environment"),
        pytest.param(None, None, "file", id="then the file"),
    ],
)
def test_nearest_source_wins(
    site: Path,
    tmp_path: Path,
    line: str | None,
    variable: str | None,
    winner: str,
) -> None:
    """Command line over environment over file: the refused host is the winner's."""
    file = tmp_path / "serve.toml"
    file.write_text(f'directory = "{site}"\nhost = "file.invalid"\n')
    arguments = ("--host", f"{line}.invalid") if line else ()
    environment = {"SENDFILE_SERVE_CONFIG": str(file)}
    if variable:
        environment["SENDFILE_SERVE_HOST"] = f"{variable}.invalid"

    done = run(*arguments, environment=environment)

    assert_refused("sendfile-serve", done, f"{winner}.invalid")


@pytest.mark.parametrize(
    ("line", "variables", "file", "expected"),
    [
        ("--port=1", {"LISTEN": "unix:v"}, "", TcpAddress("127.0.0.1", 1)),
        ("--listen=unix:l", {"HOST": "::1", "PORT": "2"}, "", UnixAddress("l")),
        (
            "--log-level=info",
            {"PORT": "2"},
            "listen='unix:f'",
            TcpAddress(Config.host, 2),
        ),
        ("--port=1", {"HOST": "::1"}, "listen='unix:f'", TcpAddress("::1", 1)),
        ("--port=1", {"HOST": "::1", "LISTEN": "unix:v"}, "", TcpAddress("::1", 1)),
    ],
)
def test_nearest_of_two_ways_to_say_where_wins(
    tmp_path: Path, line: str, variables: dict[str, str], file: str, expected: Address
) -> None:
    """An image that says --listen leaves --port to who runs it."""
    path = tmp_path / "serve.toml"
    path.write_text(file)
    with called_with(".", line, "--config", str(path)) as patch:
        for name, value in variables.items():
            patch.setenv(f"SENDFILE_SERVE_{name}", value)
        config = read_again(SERVE)
    assert isinstance(config, Config)
    assert (config.listen or (config.address,)) == (expected,)


def test_two_ways_to_say_where_from_one_source_are_refused() -> None:
    """Neither is nearer."""
    with (
        called_with(".", "--port", "1", "--listen", "unix:a"),
        pytest.raises(ConfigError, match="--listen replaces --host and --port"),
    ):
        read_again(SERVE)


def test_list_in_the_file_is_a_list(serve: Serve, site: Path, tmp_path: Path) -> None:
    """A repeatable option is a list in TOML, and each of its values counts."""
    path = tmp_path / "www.sock"
    file = tmp_path / "serve.toml"
    file.write_text(
        f'listen = ["127.0.0.1:0", "unix:{path}"]\nmime-type = ["txt=text/x-a"]\n'
    )
    server = serve(site, "--config", str(file), "--workers", "1")

    for place in (server.port, str(path)):
        response = fetch(place, "/hello.txt")
        assert response.fields["content-type"] == "text/x-a; charset=utf-8"

"""The command ``splice-relay``: options from three places, one line for a mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from calling import Done, assert_refused, check
from relaying import COMMAND, Relay, Target, connect, read_all
from sendfile_server.cli import relay_main
from sendfile_server.options import GROUPS, TcpAddress, UnixAddress, options
from sendfile_server.relay.config import Forward, RelayConfig

HERE = ("127.0.0.1:0", "127.0.0.1:9")


def run(*arguments: str, **environment: str) -> Done:
    """Run the command, which must end by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SPLICE_RELAY")}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=clean | environment,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "nothing to forward", id="nothing"),
        pytest.param(HERE[:1], "LISTEN needs a TARGET", id="no target"),
        pytest.param(("[::1]:1", "[::1]:1"), "[::1]:1 to itself", id="a circle"),
        pytest.param((*HERE, "--log", "/no/log"), "cannot write /no/log", id="no log"),
        pytest.param((*HERE, "more"), "unexpected extra argument", id="three"),
        pytest.param(("8080", HERE[1]), "HOST:PORT", id="a port alone"),
        pytest.param((HERE[0], "unix:"), "some text", id="no path"),
        pytest.param((HERE[0], "127.0.0.1:0"), "port 0", id="no port to connect to"),
        pytest.param(("--forward", "a:1"), "LISTEN=TARGET", id="half a forward"),
        pytest.param(("--forward", "a:1=b"), "HOST:PORT", id="a forward to no port"),
        pytest.param((*HERE, "--pipe-size", "3"), "4 up to", id="less than a page"),
        pytest.param((*HERE, "--idle-timeout", "0"), "above 0", id="no time"),
        pytest.param((*HERE, "--accept-proxy"), "--trusted-proxy", id="trusts nobody"),
        pytest.param(
            (*HERE, "--trusted-proxy", "::1"), "--accept-proxy", id="accepts nothing"
        ),
        pytest.param(
            (*HERE, "--accept-proxy", "--trusted-proxy", "10.0.0.1/8"),
            "a network such as",
            id="no network",
        ),
        pytest.param((*HERE, "--send-proxy", "v3"), "v1 or v2", id="no version"),
        pytest.param((*HERE, "--pipe", "x"), "--pipe-size", id="unknown option"),
        pytest.param((*HERE, "--record-size", "0"), "1 up to 2147483648", id="no room"),
        pytest.param((*HERE, "--record-age", "0"), "above 0", id="no age"),
        pytest.param((*HERE, "--record", "/no/such"), "No such", id="no directory"),
        pytest.param((*HERE, "--record", "/dev/null"), "Not a dir", id="a device"),
        pytest.param((HERE[0], "no.such.invalid:1"), "no.such.invalid", id="no such"),
    ],
)
def test_mistake_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    """Whatever is wrong, one line says what, and the exit code is 2."""
    assert_refused("splice-relay", check(relay_main, *arguments), words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "nothing to forward", id="nothing"),
        pytest.param(("192.0.2.1:0", HERE[1]), "no such address", id="not ours"),
    ],
)
def test_mistake_found_at_the_start_is_one_line(
    arguments: tuple[str, ...], words: str
) -> None:
    """So is what turns out when it starts, and each ends its process."""
    assert_refused("splice-relay", run(*arguments), words)


def test_check_opens_no_port() -> None:
    """A valid configuration is said to be so, and nothing is started."""
    done = run("--check", "127.0.0.1:1", HERE[1])
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "splice-relay: the configuration is valid\n"


def test_directory_to_record_in_must_be_writable() -> None:
    """To the user who runs the relay."""
    code = """
import os
from sendfile_server.options import UnixAddress
from sendfile_server.relay.config import Forward, RelayConfig
from sendfile_server.relay.start import check
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
forward = Forward(UnixAddress("a"), UnixAddress("b"))
check(RelayConfig(forward=(forward,), record="/"))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ConfigError: cannot record in /: it is not writable" in done.stderr


def test_help_lists_everything() -> None:
    """The help has every option below its heading, in lines of 80 columns."""
    text = run("--help", COLUMNS="200").stdout
    assert max(map(len, text.splitlines())) <= 80
    for name, option in options(RelayConfig).items():
        assert option.group in GROUPS
        heading = text.index(f"\n{option.group}:\n")
        assert text.index(f"\n  --{name.replace('_', '-')} ") > heading


def test_options_come_from_the_file_and_the_environment(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Arguments and options alike, and the environment wins over the file."""
    place = target(lambda client: client.sendall(b"here"))
    file = tmp_path / "relay.toml"
    file.write_text(
        f'target = "127.0.0.1:9"\nforward = ["unix:{tmp_path}/a={place}"]\n'
    )
    done = run("--check", HERE[0], "--config", str(file))
    assert done.returncode == 0, done.stderr
    done = run("--check", HERE[0], SPLICE_RELAY_TARGET="no.such.invalid:1")
    assert "no.such.invalid" in done.stderr
    with connect(relay(place, "--config", str(file))) as client:
        assert read_all(client) == b"here"


def test_forwards_are_those_of_the_arguments_and_the_options() -> None:
    """In this order."""
    first = Forward(TcpAddress("a", 1), UnixAddress("b"))
    second = Forward(UnixAddress("c"), TcpAddress("d", 2))
    parse = options(RelayConfig)["forward"].parse
    assert parse("unix:c=d:2") == second
    config = RelayConfig(listen=first.listen, target=first.target, forward=(second,))
    assert config.forwards == (first, second)
    assert RelayConfig(forward=(second,)).forwards == (second,)


def test_every_default_is_what_its_option_accepts() -> None:
    """A default written out is the same value, so that help and code agree."""
    config = RelayConfig(forward=(Forward(UnixAddress("a"), UnixAddress("b")),))
    for name, option in options(RelayConfig).items():
        if name != "forward":
            assert getattr(config, name) == option.default
        if option.default not in (None, ()):
            assert option.parse(str(option.default)) == option.default


def test_mode_is_that_of_every_unix_socket(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Of those that are forwarded, and of that of the metrics."""
    paths = (tmp_path / "forwarded", tmp_path / "metrics")
    relay(
        target(lambda client: client.sendall(b"here")),
        *("--metrics", f"unix:{paths[1]}", "--socket-mode", "0604"),
        listen=f"unix:{paths[0]}",
    )
    assert [path.stat().st_mode & 0o7777 for path in paths] == [0o604, 0o604]

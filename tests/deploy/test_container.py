"""The image: built offline, and run with nothing that it does not need."""

import dataclasses
import re
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from containers import Builder, Contain, Container, Image
from running import DEADLINE_S, wait_until
from tools import need

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TOP = Path(__file__).parents[2]
SITE = "http://127.0.0.1:8080/"
# What the image of nginx does, among hosts that are told by a file.
NGINX = 'mount --bind "$1" /etc/hosts; exec nginx -c "$2"'


def fetch(container: Container, target: str) -> bytes:
    """Return a page, as a neighbour in its network gets it."""
    need("curl")
    curl = ("curl", "-sSf", "--max-time", str(DEADLINE_S), SITE + target)
    return subprocess.run(
        container.beside(*curl), stdout=subprocess.PIPE, check=True
    ).stdout


def test_holds_what_runs_and_no_more(image: Image) -> None:
    """The venv came along, and neither the pip nor the sources that it was made of."""
    packages = image.root.glob("opt/*/lib/*/site-packages/*.dist-info")

    assert {each.name.partition("-")[0] for each in packages} == {
        *("click", "h11", "prometheus_client", "sendfile_server", "uvloop")
    }
    assert not (image.root / "build").exists()
    assert not list((image.root / "www").iterdir())


def test_its_user_can_change_nothing(image: Image) -> None:
    """It is a number, which Kubernetes can tell from root's, and owns no file."""
    added = (image.root / "opt", image.root / "www")
    every = [*added, *added[0].rglob("*")]
    modes = {path: path.lstat().st_mode for path in every if not path.is_symlink()}

    assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", image.config["User"])
    assert not [path for path, mode in modes.items() if mode & 0o022]
    assert {path.lstat().st_uid for path in every} == {0}


@pytest.mark.parametrize("module", ["cli", "probe"])
def test_starts_from_bytecode(
    image: Image, contain: Contain, site: Path, module: str
) -> None:
    """Nothing need be compiled, be it ours or the interpreter's own.

    The base has no bytecode at all, like the official images of Python.
    """
    container = contain(image, site=site)
    container.wait_until_serving()
    code = f"import sendfile_server.{module}"
    told = container.execute("python3", "-vc", code).stderr

    assert f"sendfile_server/{module}.cpython-" in told
    assert not re.findall(r"^# code object from /.*\.py$", told, re.MULTILINE)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serves_and_drains(
    image: Image, contain: Contain, site: Path, tmp_path: Path, workers: str
) -> None:
    """With no shell and no file to write to: a GET, and after SIGTERM the rest of one.

    So it does as the first process of its namespace, which signals reach only if
    they are waited for (pid_namespaces(7)).
    """
    size = 20 << 20
    with (site / "big.bin").open("wb") as file:
        file.truncate(size)
    container = contain(image, site=site, SENDFILE_SERVE_WORKERS=workers)
    container.wait_until_serving()
    assert fetch(container, "hello.txt") == b"hello\n"
    got = tmp_path / "got"
    curl = ("curl", "-sS", "--limit-rate", "10M", "-o", str(got), f"{SITE}big.bin")
    with subprocess.Popen(container.beside(*curl)) as download:
        wait_until(lambda: got.exists() and got.stat().st_size, "the first bytes")
        container.tell(signal.SIGTERM)

        assert container.wait() == 0
        assert download.wait(DEADLINE_S) == 0
    assert got.stat().st_size == size


def test_health_is_told(image: Image, contain: Contain, site: Path) -> None:
    """The health check succeeds while the server runs, and fails where none does."""
    kind, *check = image.config["Healthcheck"]["Test"]
    container = contain(image, site=site)
    container.wait_until_serving()
    instead = dataclasses.replace(image, config=image.config | {"Entrypoint": check})
    alone = contain(instead)

    assert kind == "CMD"  # and not CMD-SHELL
    assert container.execute(*check).returncode == 0
    assert alone.wait() == 1
    assert "Connection refused" in alone.log


def test_variables_and_arguments_win_over_the_image(
    image: Image, contain: Contain, site: Path
) -> None:
    """As by ``docker run -e``, and by what follows there on the image's name."""
    container = contain(
        *(image, "--index", "hello.txt"),
        site=site,
        SENDFILE_SERVE_LISTEN="127.0.0.1:8080 127.0.0.1:8888",
        SENDFILE_SERVE_METRICS="127.0.0.1:9999",
    )
    container.wait_until_serving()

    assert "127.0.0.1:8888/, metrics at 127.0.0.1:9999 " in container.log
    assert fetch(container, "") == b"hello\n"


def test_site_may_be_in_an_image_of_its_own(
    builder: Builder, contain: Contain, site: Path, tmp_path: Path
) -> None:
    """What is copied to /www of an image that is built on this one is served."""
    operations = (TOP / "docs" / "operations.md").read_text()
    (told,) = re.findall(r"(?:^    (?:FROM|COPY) .*\n)+", operations, re.MULTILINE)
    (tmp_path / "Dockerfile").write_text(textwrap.dedent(told))
    site.rename(tmp_path / "public")
    builder.build("site", tmp_path)
    container = contain(builder.unpack("site"))
    container.wait_until_serving()

    assert fetch(container, "dir/") == b"DIR\n"


def test_what_builds_it_may_run_it(
    builder: Builder, context: Path, contain: Contain
) -> None:
    """One base is enough, if it has a shell."""
    builder.build("simple", context, BASE="base", PIP_NO_INDEX="1")
    container = contain(builder.unpack("simple"), "--check")

    assert container.wait() == 0
    assert "the configuration is valid" in container.log


def test_nginx_of_compose_passes_on(
    image: Image, contain: Contain, site: Path, tmp_path: Path
) -> None:
    """The service is found by its name, and a redirect of it leads through nginx."""
    need("curl", "nginx")
    services = yaml.safe_load((TOP / "compose.yaml").read_text())["services"]
    (mount,) = services["nginx"]["volumes"]
    (tmp_path / "hosts").write_text("127.0.0.1 site\n")
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; include {TOP / mount.partition(':')[0]}; }}"
    )
    container = contain(image, site=site)
    container.wait_until_serving()
    files = (str(tmp_path / "hosts"), str(tmp_path / "nginx.conf"))
    nginx = ("unshare", "--mount", "sh", "-euc", NGINX, "sh", *files)
    curl = ("curl", "-sSfL", "--max-time", str(DEADLINE_S), "http://127.0.0.1/dir")

    def ask() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(container.beside(*curl), capture_output=True, check=False)

    with subprocess.Popen(container.beside(*nginx)) as front:
        try:
            wait_until(lambda: ask().returncode == 0, "nginx to answer")
            assert ask().stdout == b"DIR\n"
        finally:
            front.terminate()

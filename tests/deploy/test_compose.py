"""compose.yaml, and the nginx that it puts in front."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from containers import Contain, Image, run
from running import DEADLINE_S, wait_until
from sendfile_server.config import Config
from tools import need

TOP = Path(__file__).parents[2]
FILE = TOP / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]

# What the image of nginx does, among hosts that are told by a file.
NGINX = 'mount --bind "$1" /etc/hosts; exec nginx -c "$2"'


def test_file_is_valid() -> None:
    """Compose takes it, and the files that are mounted are there."""
    need("docker-compose")
    run("docker-compose", "-f", str(FILE), "config", "--quiet")
    mounted = [each for name in SERVICES for each in SERVICES[name]["volumes"]]

    assert mounted
    assert all((TOP / each.partition(":")[0]).exists() for each in mounted)


def test_there_is_time_to_drain() -> None:
    """The server is killed only after its grace."""
    given = SERVICES["site"]["stop_grace_period"].removesuffix("s")

    assert int(given) > Config.grace


@pytest.mark.e2e
@pytest.mark.slow
def test_nginx_passes_on(
    image: Image, contain: Contain, site: Path, tmp_path: Path
) -> None:
    """The service is found by its name, and a redirect of it leads through nginx."""
    need("curl", "nginx")
    (mount,) = SERVICES["nginx"]["volumes"]
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

"""An image of this server, on a base that has an interpreter and little else."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import Builder, Contain, Container, Image, run
from tools import give_up, need

TOP = Path(__file__).parents[2]
OPERATIONS = (TOP / "docs" / "operations.md").read_text()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a folder for all that images are made of."""
    folder = tmp_path_factory.mktemp("images")
    yield folder
    shutil.rmtree(folder)  # some hundred MiB


@pytest.fixture(scope="session")
def base(folder: Path) -> Path:
    """Unpack Python and a shell, found by apt-get as if nothing were installed."""
    need("apt-get", "buildah", "dpkg-deb")
    if os.geteuid():
        give_up("not root")
    base, archives = folder / "base", folder / "archives"
    (archives / "partial").mkdir(parents=True)
    (base / "root" / "proc").mkdir(parents=True)
    _download(
        *("apt-get", "-qq", "-y", "--no-install-recommends", "--download-only"),
        *("-o", "Dir::State::status=/dev/null", "-o", "APT::Sandbox::User=root"),
        *("-o", "DPkg::Lock::Timeout=120"),  # another run may be at it
        *("-o", f"Dir::Cache::archives={archives}", "install", "python3-venv", "dash"),
        folder=archives,
    )
    for package in archives.glob("*.deb"):
        run("dpkg-deb", "--extract", str(package), str(base / "root"))
    (base / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    return base


@pytest.fixture(scope="session")
def context(folder: Path, base: Path) -> Path:
    """Copy the sources, and fill the wheelhouse as docs/operations.md says."""
    context = folder / "context"
    shutil.copytree(TOP, context, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(TOP / ".dockerignore", context)
    (library,) = base.glob("root/usr/lib/python3.*")
    version = library.name.removeprefix("python")
    (line,) = re.findall(r"^    (pip download .*)", OPERATIONS, re.MULTILINE)
    told = [version if each == "3.13" else each for each in shlex.split(line)]
    _download(sys.executable, "-m", *told, folder=context)
    return context


@pytest.fixture(scope="session")
def builder(folder: Path, base: Path, context: Path) -> Builder:
    """Have the images "base", "bare", which has no shell, and "sendfile-server"."""
    builder = Builder(folder)
    builder.build("base", base)
    for shell in ("bin/sh", "bin/dash"):
        (base / "root" / shell).unlink()
    builder.build("bare", base)
    offline = {"PIP_NO_INDEX": "1"}
    builder.build("sendfile-server", context, BASE="bare", BUILDER="base", **offline)
    return builder


@pytest.fixture(scope="session")
def image(builder: Builder) -> Image:
    """Return the image of this server."""
    return builder.unpack("sendfile-server")


@pytest.fixture
def contain(tmp_path: Path) -> Iterator[Contain]:
    """Run containers, and end them."""
    need("chroot", "ip", "nsenter", "unshare")
    containers: list[Container] = []

    def start(
        image: Image, *arguments: str, site: Path | None = None, **variables: str
    ) -> Container:
        log = tmp_path / f"log-{len(containers)}"
        containers.append(Container(image, site, log, *arguments, **variables))
        return containers[-1]

    yield start
    for each in containers:
        each.kill()


def _download(*command: str, folder: Path) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        give_up(f"can't download: {done.stderr}")

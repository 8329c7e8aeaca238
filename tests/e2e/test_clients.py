"""Real clients, as people use them."""

import os
from pathlib import Path

import pytest

from running import Serve
from tools import digest, need, run

pytestmark = pytest.mark.e2e


@pytest.fixture
def url(serve: Serve, site: Path) -> str:
    """Serve the small tree, and return where."""
    need("curl")
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    (site / "ascii.txt").write_text((alphabet * 100)[:2000])
    return serve(site).url


def curl_status(*options: str | Path) -> str:
    """Return the status that curl got."""
    return run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *options)


def test_curl_resumes(url: str, site: Path, tmp_path: Path) -> None:
    """-C - fetches what is missing, and the file is whole."""
    part = tmp_path / "part"
    part.write_bytes((site / "mib.bin").read_bytes()[:300000])

    run("curl", "-sS", "-C", "-", "-o", part, f"{url}/mib.bin")

    assert part.read_bytes() == (site / "mib.bin").read_bytes()


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        pytest.param("2-4", "234", id="first and last"),
        pytest.param("-3", "789", id="suffix"),
        pytest.param("7-", "789", id="open"),
    ],
)
def test_curl_gets_ranges(url: str, ranges: str, expected: str) -> None:
    """--range gets exactly those bytes."""
    assert run("curl", "-sS", "--range", ranges, f"{url}/digits.txt") == expected


def test_curl_gets_several_ranges(url: str) -> None:
    """Several ranges come as parts, each with its label."""
    # Text mode reads CRLF as one line end.
    body = run("curl", "-sS", "--range", "0-2,500-502", f"{url}/ascii.txt")

    assert "Content-Range: bytes 0-2/2000\n\nabc\n--" in body
    assert "Content-Range: bytes 500-502/2000\n\nghi\n--" in body


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-I",), id="HEAD"),
        pytest.param(("--http1.0",), id="HTTP/1.0"),
        pytest.param(("-X", "OPTIONS"), id="OPTIONS"),
        pytest.param(("-d", "x"), id="POST"),
    ],
)
def test_curl_is_answered_by_every_method(url: str, options: tuple[str, ...]) -> None:
    """Whatever is asked, curl gets a whole answer and ends."""
    status = {"-I": "200", "--http1.0": "200", "-X": "204", "-d": "405"}[options[0]]

    assert curl_status(*options, f"{url}/hello.txt") == status


def test_curl_compares_dates(url: str, site: Path) -> None:
    """-z fetches only what is newer."""
    os.utime(site / "hello.txt", (1_700_000_000, 1_700_000_000))

    target = f"{url}/hello.txt"
    assert curl_status("-z", "15 Nov 2023 00:00:00 GMT", target) == "304"
    assert curl_status("-z", "13 Nov 2023 00:00:00 GMT", target) == "200"


def test_curl_compares_tags(serve: Serve, site: Path, tmp_path: Path) -> None:
    """--etag-compare gets 304 until the file changes."""
    need("curl")
    tag, target = tmp_path / "tag", f"{serve(site, '--freshness', '0').url}/hello.txt"

    assert curl_status("--etag-save", tag, target) == "200"
    assert curl_status("--etag-compare", tag, target) == "304"
    (site / "hello.txt").write_bytes(b"changed\n")
    assert curl_status("--etag-compare", tag, target) == "200"


def test_wget_continues(serve: Serve, site: Path, tmp_path: Path) -> None:
    """-c fetches what is missing, and the file is whole."""
    need("wget")
    (tmp_path / "mib.bin").write_bytes((site / "mib.bin").read_bytes()[:1000])

    run("wget", "-q", "-c", f"{serve(site).url}/mib.bin", cwd=tmp_path)

    assert (tmp_path / "mib.bin").read_bytes() == (site / "mib.bin").read_bytes()


def test_aria2_downloads_in_pieces(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Eight connections fetch 200 MiB, and every byte is in its place."""
    need("aria2c")
    big = site / "big.bin"
    with big.open("wb") as file:
        for number in range(200):
            file.write(number.to_bytes(4, "big") * (1 << 18))

    eight = ("-x8", "-s8", "-k1M", "--file-allocation=none", "-q")
    run("aria2c", *eight, f"{serve(site).url}/big.bin", cwd=tmp_path)

    assert digest(tmp_path / "big.bin") == digest(big)


def test_apt_installs_from_it(serve: Serve, tmp_path: Path) -> None:
    """apt-get updates from a served directory alone, and downloads from it."""
    need("apt-get", "dpkg-deb", "apt-ftparchive")
    package, repository = tmp_path / "package", tmp_path / "repository"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: served\nVersion: 1.0\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.invalid>\nDescription: a test\n"
    )
    repository.mkdir()
    run("dpkg-deb", "--build", package, repository / "served_1.0_all.deb")
    (repository / "Packages").write_text(
        run("apt-ftparchive", "packages", ".", cwd=repository)
    )
    server = serve(repository)
    # A world of its own: neither lists nor state of the machine are touched.
    for name in ("state/lists/partial", "cache/archives/partial", "etc", "down"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    (tmp_path / "apt" / "status").touch()
    sources = tmp_path / "apt" / "sources.list"
    sources.write_text(f"deb [trusted=yes] {server.url} ./\n")
    apt = (
        "apt-get",
        *("-o", f"Dir::State={tmp_path}/apt/state"),
        *("-o", f"Dir::State::status={tmp_path}/apt/status"),
        *("-o", f"Dir::Cache={tmp_path}/apt/cache"),
        *("-o", f"Dir::Etc={tmp_path}/apt/etc"),
        *("-o", f"Dir::Etc::SourceList={sources}"),
        *("-o", "Acquire::http::Proxy=DIRECT"),
        *("-o", "APT::Sandbox::User=root"),
    )

    run(*apt, "update", "--error-on=any")
    run(*apt, "update", "--error-on=any")  # conditional this time
    run(*apt, "download", "served", cwd=tmp_path / "apt" / "down")

    fetched = tmp_path / "apt" / "down" / "served_1.0_all.deb"
    assert digest(fetched) == digest(repository / "served_1.0_all.deb")


def test_git_clones_by_dumb_http(serve: Serve, tmp_path: Path) -> None:
    """Git clone needs no more than files."""
    need("git")
    work, bare = tmp_path / "work", tmp_path / "www" / "project.git"
    who = ("-c", "user.name=N", "-c", "user.email=n@example.invalid")
    run("git", "init", "-q", work)
    for number in range(3):
        (work / "file").write_text(f"{number}\n")
        run("git", *who, "add", "file", cwd=work)
        run("git", *who, "commit", "-q", "-m", f"Number {number}", cwd=work)
    run("git", "clone", "-q", "--bare", work, bare)
    run("git", "update-server-info", cwd=bare)

    server = serve(tmp_path / "www")
    run("git", "clone", "-q", f"{server.url}/project.git", tmp_path / "clone")

    log = ("git", "log", "--format=%H")
    assert run(*log, cwd=tmp_path / "clone") == run(*log, cwd=work)
    assert (tmp_path / "clone" / "file").read_text() == "2\n"

"""The directory itself is swapped, by a link or by a rename, while it is served."""

import time
from pathlib import Path

import pytest

from running import Serve, wait_until
from wire import Client, fetch

workers = pytest.mark.parametrize("workers", ["1", "2"])


def make_tree(root: Path, text: bytes) -> Path:
    """Make a tree whose file says which it is, with names that only it has."""
    root.mkdir()
    (root / "which.txt").write_bytes(text)
    (root / f"only-{text.decode()}.txt").write_bytes(text)
    return root


def point(link: Path, to: Path) -> None:
    """Make *link* lead to *to*, in one step for all who look."""
    new = link.with_name("link.new")
    new.symlink_to(to)
    new.rename(link)


@pytest.mark.alone
@workers
def test_swapped_link_is_followed_within_freshness(
    serve: Serve, tmp_path: Path, workers: str
) -> None:
    """The new tree is served in time, and the old one never again."""
    old, new = make_tree(tmp_path / "a", b"old"), make_tree(tmp_path / "b", b"new")
    link = tmp_path / "link"
    point(link, old)
    server = serve(link, "--workers", workers, "--freshness", "1")

    with Client(server.port) as client:
        assert client.request("/which.txt").body == b"old"
        point(link, new)
        swapped = time.monotonic()
        wait_until(
            lambda: fetch(server.port, "/which.txt").body == b"new", "the new tree"
        )
        wait_until(lambda: client.request("/which.txt").body == b"new", "it, reused")
        assert time.monotonic() - swapped < 1.5

        wait_until(lambda: time.monotonic() - swapped > 1.2, "all workers' time")
        for _ in range(40):
            assert fetch(server.port, "/which.txt").body == b"new"
            assert client.request("/only-old.txt").status == 404
        assert client.request("/only-new.txt").body == b"new"


@pytest.mark.alone
@workers
def test_replaced_directory_is_found_within_freshness(
    serve: Serve, tmp_path: Path, workers: str
) -> None:
    """A directory that is moved away and made anew is served as it is now."""
    root = make_tree(tmp_path / "root", b"old")
    make_tree(tmp_path / "next", b"new")
    server = serve(root, "--workers", workers, "--freshness", "1")

    assert fetch(server.port, "/which.txt").body == b"old"
    root.rename(tmp_path / "gone")
    (tmp_path / "next").rename(root)
    swapped = time.monotonic()
    wait_until(lambda: fetch(server.port, "/which.txt").body == b"new", "the new tree")
    assert time.monotonic() - swapped < 1.5

    wait_until(lambda: time.monotonic() - swapped > 1.2, "all workers' time")
    for _ in range(40):
        assert fetch(server.port, "/which.txt").body == b"new"


def test_no_freshness_follows_at_once(serve: Serve, tmp_path: Path) -> None:
    """With --freshness 0 the very next request sees the swap, again and again."""
    trees = [make_tree(tmp_path / name, name.encode()) for name in ("a", "b", "c")]
    link = tmp_path / "link"
    point(link, trees[0])
    server = serve(link, "--workers", "1", "--freshness", "0")

    with Client(server.port) as client:
        for turn in range(60):
            tree = trees[turn % 3]
            point(link, tree)
            assert client.request("/which.txt").body == tree.name.encode()
            assert client.request(f"/only-{tree.name}.txt").status == 200
            other = trees[(turn + 1) % 3].name
            assert client.request(f"/only-{other}.txt").status == 404


def test_missing_directory_changes_nothing_until_it_is_back(
    serve: Serve, tmp_path: Path
) -> None:
    """Between the two steps of a slow deployment the old tree goes on."""
    root = make_tree(tmp_path / "root", b"old")
    server = serve(root, "--workers", "1", "--freshness", "0")

    root.rename(tmp_path / "gone")
    for _ in range(3):
        assert fetch(server.port, "/which.txt").body == b"old"
    make_tree(root, b"new")
    assert fetch(server.port, "/which.txt").body == b"new"


def test_download_outlives_the_swap(serve: Serve, tmp_path: Path) -> None:
    """What is being sent from the old tree is finished."""
    old, new = make_tree(tmp_path / "a", b"old"), make_tree(tmp_path / "b", b"new")
    with (old / "big.bin").open("wb") as file:
        file.truncate(16 << 20)
    link = tmp_path / "link"
    point(link, old)
    server = serve(link, "--workers", "1", "--freshness", "0")

    with Client(server.port) as client:
        client.send(b"GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.socket.recv(1)
        point(link, new)
        assert fetch(server.port, "/big.bin").status == 404
        (old / "big.bin").unlink()
        count = 1
        while count < 16 << 20:
            data = client.socket.recv(1 << 20)
            assert data
            count += len(data)

"""A site whose URLs begin with a path of their own."""

from pathlib import Path

import pytest

from running import Serve
from wire import Client

ANSWERS = {
    "/static": (308, "/static/"),
    "/static?q=/../x": (308, "/static/?q=/../x"),
    "http://localhost/static": (308, "/static/"),
    "/static/dir": (308, "/static/dir/"),
    "/static/dir?q": (308, "/static/dir/?q"),
    "/static/": (200, None),
    "/static/dir/": (200, None),
    "/static/hello.txt?q": (200, None),
    "http://localhost/static/hello.txt": (200, None),
    "/%73tatic/./dir/../hello.txt": (200, None),
    "/static/../static/hello.txt": (200, None),
    "/": (404, None),
    "/hello.txt": (404, None),
    "/statichello.txt": (404, None),
    "/static/../hello.txt": (404, None),
    "/static/%2e%2e/": (404, None),
    "/static/static/": (404, None),
    "/static%2fhello.txt": (404, None),
}


@pytest.mark.parametrize("memory", [(), ("--no-memory",)], ids=["memory", "no memory"])
def test_site_is_below_its_base_path(
    serve: Serve, site: Path, memory: tuple[str, ...]
) -> None:
    """What is below it is served, redirects stay there, and all else is 404."""
    server = serve(site, "--workers", "1", "--base-path", "/static/", *memory)

    with Client(server.port) as client:
        for target, expected in [*ANSWERS.items()] * 2:
            response = client.request(target)
            assert (response.status, response.fields.get("location")) == expected


def test_base_path_is_told(serve: Serve, site: Path) -> None:
    """The start-up line shows a URL that can be opened."""
    server = serve(site, "--base-path", "/a/b/")

    assert f" at {server.url}/a/b/ with " in server.log.read_text()

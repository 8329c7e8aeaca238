"""The status page in Chromium: it shows what happens, and asks nobody else."""

import os
import re
import signal
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from running import Serve, Server
from wire import Client, fetch

pytestmark = pytest.mark.e2e

_DEADLINE_S = 30


def port_of(server: Server) -> int:
    """Return where *server* tells of itself."""
    match = re.search(r"metrics at [^ ]*:([0-9]+) ", server.log.read_text())
    assert match
    return int(match[1])


def wait_for_text(browser: Chrome, selector: str, pattern: str) -> None:
    """Wait until an element of the page, which is drawn anew each second, has it."""
    script = f"return document.querySelector('{selector}')?.textContent ?? ''"
    WebDriverWait(browser, _DEADLINE_S).until(
        lambda driver: re.search(pattern, driver.execute_script(script)),
        f"{selector} never had {pattern}",
    )


def complaints(browser: Chrome) -> list[dict[str, str]]:
    """Return what the browser's console has got since this was last asked."""
    log: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return log


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_shows_what_happens(
    browser: Chrome, serve: Serve, site: Path, scheme: str
) -> None:
    """Charts, numbers, the last errors; readable in both schemes, without an error."""
    server = serve(site, "--metrics", "127.0.0.1:0", "--workers", "2")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    complaints(browser)
    browser.get(f"http://127.0.0.1:{port_of(server)}/")
    os.kill(server.children()[0], signal.SIGKILL)
    with Client(server.port) as client:
        for _ in range(50):
            client.request("/kib.bin")
        client.request("/missing")
        wait_for_text(browser, "#open_connections dd", "^1$")

    wait_for_text(browser, "#state", "^ready, ")
    wait_for_text(browser, "h1", "^sendfile-serve$")
    wait_for_text(browser, "#requests dl", "GET 2xx.*GET 4xx")
    wait_for_text(browser, "#notices", "ERRORworker [0-9]+ ended by signal 9")
    assert browser.execute_script(
        "return [...document.querySelectorAll('polyline')]"
        ".every((line) => !line.getAttribute('points').includes('NaN'))"
    )
    body = browser.find_element(By.TAG_NAME, "body")
    ink, paper = (
        sum(map(int, re.findall(r"[0-9]+", body.value_of_css_property(name))[:3]))
        for name in ("color", "background-color")
    )
    assert (ink > paper) is (scheme == "dark")
    assert abs(ink - paper) > 384
    assert complaints(browser) == []


def test_page_says_that_nobody_answers(
    browser: Chrome, serve: Serve, site: Path
) -> None:
    """It does not go on showing old numbers as if they were new."""
    server = serve(site, "--metrics", "127.0.0.1:0")
    browser.get(f"http://127.0.0.1:{port_of(server)}/")
    wait_for_text(browser, "#state", "^ready, ")
    server.stop()

    wait_for_text(browser, "#state", "^no answer: ")
    complaints(browser)


def test_page_is_whole(serve: Serve, site: Path) -> None:
    """It names no other place, and its policy would not let it ask one."""
    server = serve(site, "--metrics", "127.0.0.1:0")
    answer = fetch(port_of(server), "/")

    assert answer.fields["content-security-policy"].startswith("default-src 'none'")
    # The one address in it is the name of a vocabulary.
    addresses = re.findall(rb"https?://[^\"]*", answer.body)
    assert all(each.startswith(b"http://www.w3.org/") for each in addresses)

"""A real browser for the tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tools import give_up

# Given outright, so that Selenium looks for no others.
_CHROMIUM = Path("/usr/bin/chromium")
_CHROMEDRIVER = Path("/usr/bin/chromedriver")
_SWITCHES = (
    "--headless=new",
    # Root in a container, as in CI, has neither a sandbox nor much /dev/shm.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    # The site must need nothing from elsewhere, and the browser shall not ask.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """Run a Chromium; without one, skip, or fail in CI."""
    missing = [str(path) for path in (_CHROMIUM, _CHROMEDRIVER) if not path.exists()]
    if missing:
        give_up(f"not installed: {', '.join(missing)}")
    options = ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for switch in _SWITCHES:
        options.add_argument(switch)
    with Chrome(options, Service(str(_CHROMEDRIVER))) as driver:
        yield driver


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """Let a test have the Chromium, and leave its page behind it.

    One that asks again and again would ask whoever gets the port after its server.
    """
    yield chromium
    chromium.get("about:blank")

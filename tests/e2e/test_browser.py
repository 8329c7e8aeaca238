"""The demo site in Chromium: it passes its own checks, plays, and is whole."""

import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from running import Serve

pytestmark = pytest.mark.e2e

WWW = Path(__file__).parents[2] / "www"
PAGES = sorted(page.relative_to(WWW).as_posix() for page in WWW.rglob("*.html"))

_DEADLINE_S = 30
# What the requests page provokes; Chromium reports every such answer.
_MEANT = re.compile(r"/data/\S+ - .* status of (400|404|405|412|416) ")


@pytest.fixture
def demo(serve: Serve) -> str:
    """Serve the demo site, and return its URL."""
    return serve(WWW).url


@pytest.fixture
def slow_line(browser: Chrome) -> Iterator[None]:
    """Take ten seconds for the video, so that a seek outruns its download."""
    browser.set_network_conditions(latency=0, throughput=150_000)
    yield
    browser.delete_network_conditions()


def test_requests_page_passes_its_own_checks(browser: Chrome, demo: str) -> None:
    """Every request of the requests page is answered as the page expects."""
    browser.get(f"{demo}/requests.html")
    _wait_for_checks(browser)
    failed = browser.find_elements(By.CSS_SELECTOR, "[data-check][data-result=fail]")
    reasons = {row.get_attribute("data-check"): row.text for row in failed}
    body = browser.find_element(By.TAG_NAME, "body")

    assert reasons == {}
    assert body.get_attribute("data-failed") == "0"
    assert int(body.get_attribute("data-passed") or 0) >= 12


@pytest.mark.usefixtures("slow_line")
def test_video_plays_on_after_a_seek(
    browser: Chrome, serve: Serve, tmp_path: Path
) -> None:
    """The video plays from its start and from near its end, by several ranges."""
    access_log = tmp_path / "access.log"
    server = serve(WWW, "--access-log", str(access_log))
    browser.get(f"{server.url}/media.html")
    video = browser.find_element(By.TAG_NAME, "video")
    browser.execute_script("return arguments[0].play()", video)
    _wait_for_time(browser, video, 0.5)
    near_end = _number(video, "duration") - 3
    browser.execute_script("arguments[0].currentTime = arguments[1]", video, near_end)
    _wait_for_time(browser, video, near_end + 0.5)

    assert video.get_property("error") is None
    # A transfer is logged when it ends; leaving the page ends them all.
    browser.get("about:blank")
    statuses = _wait_for_two_parts(browser, access_log)
    # 304 is for the browser's cache: it asks again while the file is new.
    assert set(statuses) <= {"206", "304"}


@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole(browser: Chrome, demo: str, page: str) -> None:
    """A page reports no error, and whatever it links to or loads is there."""
    _take_errors(browser)  # those of earlier pages
    browser.get(f"{demo}/{page}")
    if page == "requests.html":
        _wait_for_checks(browser)
    addresses = browser.execute_script(
        "return Array.from(document.querySelectorAll('[href], [src]'),"
        " (element) => element.href ?? element.src)"
    )
    statuses = {each: _status_of(each) for each in addresses if each.startswith(demo)}

    assert [each for each in _take_errors(browser) if not _is_meant(each, page)] == []
    assert statuses
    assert {each for each, status in statuses.items() if status != 200} == set()


def _wait_for_checks(browser: Chrome) -> None:
    WebDriverWait(browser, _DEADLINE_S).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "body[data-state=done]"),
        "the checks of the page did not end",
    )


def _wait_for_time(browser: Chrome, video: WebElement, second: float) -> None:
    WebDriverWait(browser, _DEADLINE_S).until(
        lambda _: _number(video, "currentTime") > second,
        f"the video did not get to second {second}",
    )


def _wait_for_two_parts(browser: Chrome, access_log: Path) -> list[str]:
    """Return the status of each request for the video, once two had a part of it."""
    line = re.compile(r'"GET /media/zoom\.webm HTTP/1\.1" (\d+) ')
    WebDriverWait(browser, _DEADLINE_S).until(
        lambda _: line.findall(access_log.read_text()).count("206") >= 2,
        "the access log has no two parts of the video",
    )
    return line.findall(access_log.read_text())


def _number(video: WebElement, name: str) -> float:
    value = video.get_property(name)
    assert isinstance(value, int | float), f"{name} is {value!r}"
    return float(value)


def _take_errors(browser: Chrome) -> list[str]:
    """Return the errors in the console since the last call."""
    entries: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


def _is_meant(error: str, page: str) -> bool:
    return page == "requests.html" and _MEANT.search(error) is not None


def _status_of(address: str) -> int:
    parts = urlsplit(address)
    with closing(HTTPConnection(parts.netloc, timeout=_DEADLINE_S)) as connection:
        connection.request("HEAD", parts.path)
        return connection.getresponse().status

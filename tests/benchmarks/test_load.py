from dataclasses import replace

import pytest

from benchmarks import BenchmarkError
from benchmarks.load import Load, Summary, check_summary, make_figures
from benchmarks.servers import CpuUse

OUTPUT = """Running 1s test @ http://127.0.0.1:8080/1k.bin
  1 threads and 64 connections
  10000 requests in 2.00s, 12.00MB read

{"requests":10000,"bytes":12010000,"duration_us":2000000,"p50_us":600,"p99_us":1200,\
"p99_9_us":4100,"connect":0,"read":0,"write":0,"status":0,"timeout":0}
"""
SIZE = 1200
LOAD = Load(path="/1k.bin")
SUMMARY = Summary.parse(OUTPUT)


def test_summary_is_found_in_what_wrk_wrote() -> None:
    """The line of JSON is taken from between wrk's own lines."""
    assert (SUMMARY.requests, SUMMARY.bytes, SUMMARY.p99_9_us) == (
        10000,
        12010000,
        4100,
    )


def test_output_without_summary_is_an_error() -> None:
    """If the script did not run to its end, there are no figures."""
    with pytest.raises(BenchmarkError, match="no summary"):
        Summary.parse("unable to connect\n")


@pytest.mark.parametrize(
    ("summary", "load"),
    [
        pytest.param(SUMMARY, LOAD, id="all-whole"),
        pytest.param(replace(SUMMARY, bytes=12_000_000), LOAD, id="none-under-way"),
        pytest.param(
            replace(SUMMARY, bytes=10_064 * SIZE), LOAD, id="one-under-way-each"
        ),
        pytest.param(
            replace(SUMMARY, status=10000),
            Load(path="/", is_error=True),
            id="all-are-errors-as-expected",
        ),
        pytest.param(
            replace(SUMMARY, bytes=12_000_000 - 9000),
            Load(path="/", slack=1),
            id="shorter-within-the-slack",
        ),
    ],
)
def test_good_run_passes(summary: Summary, load: Load) -> None:
    """A run without errors, and with the bytes of its responses, is trusted."""
    check_summary("nginx", summary, load, SIZE)


@pytest.mark.parametrize(
    ("summary", "load"),
    [
        pytest.param(replace(SUMMARY, connect=1), LOAD, id="connect"),
        pytest.param(replace(SUMMARY, read=1), LOAD, id="read"),
        pytest.param(replace(SUMMARY, write=1), LOAD, id="write"),
        pytest.param(replace(SUMMARY, timeout=1), LOAD, id="timeout"),
        pytest.param(replace(SUMMARY, status=1), LOAD, id="status"),
        pytest.param(
            replace(SUMMARY, status=9999),
            Load(path="/", is_error=True),
            id="one-that-should-be-an-error-is-not",
        ),
        pytest.param(replace(SUMMARY, bytes=11_999_999), LOAD, id="a-byte-short"),
        pytest.param(replace(SUMMARY, bytes=10_065 * SIZE), LOAD, id="too-many-bytes"),
        pytest.param(replace(SUMMARY, requests=0, bytes=0), LOAD, id="nothing"),
    ],
)
def test_bad_run_fails(summary: Summary, load: Load) -> None:
    """One failed or short response is enough to distrust a run, and it is named."""
    with pytest.raises(BenchmarkError, match="nginx"):
        check_summary("nginx", summary, load, SIZE)


def test_figures_are_per_request() -> None:
    """CPU time is divided by the requests that the client counted."""
    figures = make_figures(SUMMARY, LOAD, SIZE, CpuUse(0.02, 0.08))

    assert figures["cpu_us_per_request"] == pytest.approx(10)
    assert figures["user_us_per_request"] == pytest.approx(2)
    assert figures["system_us_per_request"] == pytest.approx(8)
    assert figures["requests_per_s"] == pytest.approx(5000)
    assert figures["p99_9_ms"] == pytest.approx(4.1)


def test_parts_of_large_responses_count() -> None:
    """Where few responses are finished, bytes say how many were sent."""
    load = Load(path="/100m.bin", counts_bytes=True)
    summary = replace(SUMMARY, requests=2, bytes=3000)

    figures = make_figures(summary, load, 1000, CpuUse(0.0, 0.3))

    assert figures["cpu_us_per_request"] == pytest.approx(100_000)

"""The pool: how many threads, what it declines, and where completions run."""

import asyncio
import threading

import pytest
import uvloop

from running import wait_until
from sendfile_server.hosting.pool import Pool

DEADLINE_S = 20.0


def run_until(loop: asyncio.AbstractEventLoop, results: list[object], n: int) -> None:
    """Turn *loop* until there are *n* results."""
    end = loop.time() + DEADLINE_S

    def look() -> None:
        if len(results) < n and loop.time() < end:
            loop.call_soon(look)
        else:
            loop.stop()

    look()
    loop.run_forever()
    assert len(results) >= n


def test_result_comes_back_on_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The job runs in a thread, and its completion in that of the loop."""
    pool = Pool(loop, "test", 2, 8)
    results: list[object] = []
    here = threading.current_thread()

    def done(result: object) -> None:
        results.extend((result, threading.current_thread()))

    pool.submit(threading.current_thread, done)
    run_until(loop, results, 2)

    assert results[0] is not here
    assert results[1] is here


def test_thread_that_cannot_be_had_is_a_result(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as there is none; another one does the work as well."""
    pool = Pool(loop, "test", 2, 8)
    results: list[object] = []

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.submit(lambda: 1, results.append)
        run_until(loop, results, 1)
    pool.submit(lambda: 2, results.append)
    run_until(loop, results, 2)
    begun = threading.Event()
    pool.submit(begun.wait, results.append)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.submit(lambda: 4, results.append)
    begun.set()
    run_until(loop, results, 4)

    assert isinstance(results[0], RuntimeError)
    assert results[1:] == [2, True, 4]
    assert pool.unfinished == 0


def test_exception_is_a_result(loop: asyncio.AbstractEventLoop) -> None:
    """A job that fails tells its completion, and the thread goes on."""
    pool = Pool(loop, "test", 1, 8)
    results: list[object] = []

    def fail() -> None:
        raise ValueError("meant")

    pool.submit(fail, results.append)
    pool.submit(lambda: 7, results.append)
    run_until(loop, results, 2)

    assert isinstance(results[0], ValueError)
    assert results[1] == 7


def test_threads_are_started_as_needed_and_bounded(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """One job takes one thread; many take no more than were allowed."""
    pool = Pool(loop, "bounded", 3, 100)
    results: list[object] = []
    hold = threading.Event()

    def count() -> int:
        return sum(each.name.startswith("bounded-") for each in threading.enumerate())

    assert count() == 0
    pool.submit(lambda: hold.wait(DEADLINE_S), results.append)
    assert count() == 1
    for _ in range(19):
        pool.submit(lambda: hold.wait(DEADLINE_S), results.append)
    assert count() == 3
    hold.set()
    run_until(loop, results, 20)

    assert results == [True] * 20
    assert count() == 3


def test_room_is_gone_at_the_depth_and_comes_back(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Unfinished jobs count until their completion has run."""
    pool = Pool(loop, "test", 1, 2)
    results: list[object] = []
    hold = threading.Event()

    assert pool.has_room
    pool.submit(lambda: hold.wait(DEADLINE_S), results.append)
    assert pool.has_room
    pool.submit(lambda: None, results.append)
    assert not pool.has_room
    hold.set()
    run_until(loop, results, 1)
    run_until(loop, results, 2)
    assert pool.has_room


def test_jobs_of_one_thread_run_in_order(loop: asyncio.AbstractEventLoop) -> None:
    """Who comes first is served first."""
    pool = Pool(loop, "test", 1, 1000)
    results: list[object] = []

    for number in range(500):
        pool.submit(lambda number=number: number, results.append)  # type: ignore[misc]
    run_until(loop, results, 500)

    assert results == list(range(500))


def test_silence_lasts_from_one_end_to_the_next(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """And there is none where there is nothing to do."""
    pool = Pool(loop, "test", 1, 2)
    results: list[object] = []
    hold = threading.Event()

    assert pool.silence == 0
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
    pool.submit(lambda: None, results.append)
    pool.submit(lambda: hold.wait(DEADLINE_S), results.append)
    run_until(loop, results, 1)
    began = loop.time()
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
    assert pool.silence >= loop.time() - began >= 0.09
    hold.set()
    run_until(loop, results, 2)
    assert pool.silence == 0


def test_closed_loop_ends_the_thread() -> None:
    """A job that ends after the loop has nobody to tell, and says nothing."""
    loop = uvloop.new_event_loop()
    pool = Pool(loop, "orphan", 1, 8)
    hold = threading.Event()
    results: list[object] = []
    pool.submit(lambda: hold.wait(DEADLINE_S), results.append)
    (thread,) = (each for each in threading.enumerate() if each.name == "orphan-1")

    loop.close()
    hold.set()

    wait_until(lambda: not thread.is_alive(), "the thread to end")
    assert not results

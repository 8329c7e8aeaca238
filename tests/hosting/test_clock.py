"""The clock: two times that move on by themselves, at the wall second."""

import asyncio
import time

import uvloop

from sendfile_server.hosting.clock import Clock


def test_clock_begins_at_the_present() -> None:
    """Both times are right before the loop has turned once."""
    loop = uvloop.new_event_loop()
    wall, elapsed = int(time.time()), time.monotonic()
    clock = Clock(loop, 75.0)
    loop.close()

    assert wall <= clock.now <= wall + 1
    assert elapsed <= clock.elapsed <= elapsed + 1


def test_clock_ticks_at_the_wall_second() -> None:
    """It stands still in between, and is never late by much."""
    loop = uvloop.new_event_loop()
    clock = Clock(loop, 75.0)
    seen: list[tuple[int, float]] = []

    async def watch() -> None:
        async with asyncio.timeout(20):
            last = clock.now
            while len(seen) < 2:
                await asyncio.sleep(0.002)
                if clock.now != last:
                    last = clock.now
                    seen.append((last, time.time()))

    loop.run_until_complete(watch())
    loop.close()

    (first, first_at), (second, second_at) = seen
    assert second == first + 1
    assert 0 <= first_at - first < 0.5
    assert 0 <= second_at - second < 0.5


def test_clock_that_was_held_up_catches_up() -> None:
    """A loop that was busy for seconds finds the present at its next turn."""
    loop = uvloop.new_event_loop()
    clock = Clock(loop, 75.0)

    async def be_busy() -> None:
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            pass
        await asyncio.sleep(0.05)

    loop.run_until_complete(be_busy())
    loop.close()

    assert abs(time.time() - clock.now) < 1.1
    assert abs(time.monotonic() - clock.elapsed) < 1.1

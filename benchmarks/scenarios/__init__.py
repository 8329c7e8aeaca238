"""Every scenario, by its name, in the order in which they run and are shown."""

from benchmarks.scenarios import (
    beside_downloads,
    cold_disk,
    idle_connections,
    in_use,
    overlayfs,
    relay,
    relay_many,
    start,
    two_workers,
    zero_copy,
)
from benchmarks.scenarios.model import Scenario
from benchmarks.scenarios.with_wrk import ROWS, make_scenario

_OF_SERVERS = (
    *map(make_scenario, ROWS),
    in_use.SCENARIO,
    beside_downloads.SCENARIO,
    cold_disk.SCENARIO,
    *overlayfs.SCENARIOS,
    idle_connections.SCENARIO,
    two_workers.SCENARIO,
    start.SCENARIO,
    zero_copy.SCENARIO,
)
_OF_RELAYS = (*relay.SCENARIOS, relay_many.SCENARIO)

SCENARIOS: dict[str, Scenario] = {
    each.name: each for each in (*_OF_SERVERS, *_OF_RELAYS)
}

RELAYS = frozenset(each.name for each in _OF_RELAYS)
"""Those that are about ``splice-relay``."""

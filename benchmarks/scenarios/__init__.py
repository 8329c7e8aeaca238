"""Every scenario, by its name, in the order in which they run and are shown."""

from benchmarks.scenarios.model import Scenario
from benchmarks.scenarios.with_wrk import ROWS, make_scenario

SCENARIOS: dict[str, Scenario] = {row.name: make_scenario(row) for row in ROWS}

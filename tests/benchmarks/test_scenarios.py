import pytest

from benchmarks.peers import FOLDER, PEERS, Peer
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.model import CPU, Scenario
from benchmarks.servers import fill
from benchmarks.sessions import peer_name

KNOWN = (
    *("root", "port", "file", "user", "run", "build", "peers", "config", "python"),
    *("descriptors", "cached_files", "target"),
)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_contenders_are_in_the_table_of_peers(scenario: Scenario) -> None:
    """Whoever takes part can be started."""
    assert {peer_name(each) for each in scenario.contenders} <= PEERS.keys()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_targets_are_about_contenders(scenario: Scenario) -> None:
    """Whoever a target names takes part."""
    for target in scenario.targets:
        assert {target.of, *target.against} <= set(scenario.contenders)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_nothing_is_left_to_fill_in(peer: Peer) -> None:
    """Every placeholder of a command and of its settings has a value."""
    texts = [peer.command, peer.build, *(peer.environment or {}).values()]
    if peer.config:
        texts.append((FOLDER / peer.config).read_text())

    for text in texts:
        assert "@" not in fill(text, dict.fromkeys(KNOWN, ""))


def test_every_file_of_settings_is_used() -> None:
    """No settings are kept that nobody is measured with."""
    used = " ".join(
        f"{peer.config} {peer.command} {peer.build}" for peer in PEERS.values()
    )
    kept = {path.name for path in FOLDER.iterdir() if path.is_file()}

    unused = {
        name
        for name in kept
        if name not in used and name.removesuffix(".py") not in used
    }
    assert unused <= {"__init__.py", "floor.h"}


@pytest.mark.parametrize("name", ["hot-16k", "hot-64k", "hot-1m", "hot-100m"])
def test_nginx_is_a_rival_with_both_figures(name: str) -> None:
    """Each of its settings is judged by CPU and by throughput, and by itself."""
    targets = [
        target
        for target in SCENARIOS[name].targets
        if target.of == "ours" and target.figure is not None
    ]
    judged = {(target.against, target.measure) for target in targets}
    settings = {each for each in SCENARIOS[name].contenders if "nginx" in each}

    assert judged == {
        ((each,), measure) for each in settings for measure in (CPU, "requests_per_s")
    }

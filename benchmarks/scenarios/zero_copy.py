"""What it costs to move bytes, by each way that Python has: docs/zero-copy.md."""

from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.scenarios.model import Scenario
from benchmarks.sessions import Round, Session, turn_order
from benchmarks.zero_copy.cases import CASES
from benchmarks.zero_copy.turns import (
    CONGESTION_CONTROL,
    CPUS,
    check_content,
    make_digest,
    measure,
)


def play(session: Session, _: tuple[str, ...]) -> Iterator[Round]:
    """Check what each case moves, byte by byte, and let them take turns."""
    names = {case.file for case in CASES.values()}
    root = session.tree(*names)
    # This brings the files into memory, too.
    digests = {name: make_digest(root / name) for name in names}
    session.say(f"  {len(CASES)} cases: every byte of each is compared first")
    for case in CASES.values():
        check_content(case, root / case.file, digests[case.file])
    # The first round warms up, and is not counted.
    for number in range(session.rounds + 1):
        figures: Round = {}
        for name in turn_order(tuple(CASES), number):
            file = root / CASES[name].file
            figures[name] = measure(CASES[name], file, times=session.seconds)
        if number:
            yield figures


SCENARIO = Scenario(
    name="zero-copy",
    what="the same bytes from a file or a socket to a socket, each way",
    contenders=(),
    play=play,
    targets=(),
    settings={
        "cases": {name: asdict(case) for name, case in CASES.items()},
        "mover_cpu": CPUS[0],
        "peers_cpu": CPUS[1],
        "peers": "one takes in and discards (MSG_TRUNC); one feeds, by sendfile",
        "congestion_control": CONGESTION_CONTROL.decode(),
    },
    chart="cpu_s_per_gb",
)

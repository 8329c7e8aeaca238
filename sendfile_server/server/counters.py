"""What one worker has answered, counted from its exchanges, and all that is told."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from sendfile_server.hosting.pool import Pool
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.samples import Kind, Sample, counter, gauge
from sendfile_server.semantics.methods import ALLOWED
from sendfile_server.server.exchanges import Batch
from sendfile_server.server.service import Service

_METHODS = {method: method.decode() for method in ALLOWED}
_OTHER = "other"
_STATUSES = ("2xx", "3xx", "4xx", "5xx")
# Seconds; a last bucket has none.
_BOUNDS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0)


class Counters:
    """Exchanges by method and class of status, their bytes, and the time they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()
        self._within = [0] * len(_BOUNDS)
        self._seconds = 0.0
        self.count = 0
        """How many there were."""
        self.body_bytes = 0
        """Of responses that were sent, or as far as they were."""

    @property
    def microseconds(self) -> int:
        """What all of them took together."""
        return round(self._seconds * 1e6)

    def tell(self, batch: Batch) -> None:
        """Count what is in *batch*."""
        kinds = Counter(zip(batch.lines, batch.statuses, strict=True))
        for (line, status), count in kinds.items():
            method = _METHODS.get(line.partition(b" ")[0], _OTHER)
            self._requests[method, _STATUSES[status // 100 - 2]] += count
        durations = sorted(batch.took)
        for bucket, bound in enumerate(_BOUNDS):
            self._within[bucket] += bisect_right(durations, bound)
        self._seconds += sum(batch.took)
        self.count += len(batch.took)
        self.body_bytes += sum(batch.sent)

    def requests(self, method: str, status: str) -> int:
        """Return how many there were with a method and a class of status."""
        return self._requests[method, status]

    def within(self, bucket: int) -> int:
        """Return how many took no longer than the bound of that number, if any."""
        return self._within[bucket] if bucket < len(_BOUNDS) else self.count


@dataclass(frozen=True, slots=True)
class Observed:
    """What the samples are read from."""

    worker: Worker
    service: Service
    counters: Counters
    pools: Sequence[Pool]

    @property
    def from_memory(self) -> int:
        """How many responses came from it."""
        return max(0, self.counters.count - self.service.planned)

    @property
    def jobs(self) -> int:
        """How many jobs run, or wait for a thread."""
        return sum(pool.unfinished for pool in self.pools)


def _requests(method: str, status: str) -> Sample:
    def read(observed: Observed) -> int:
        return observed.counters.requests(method, status)

    help_text = "Responses that have ended, whole or not."
    return counter("requests", help_text, read, method=method, status=status)


_duration = partial(
    Sample,
    "duration_seconds",
    "From a whole head to the last byte given to the kernel.",
    Kind.HISTOGRAM,
)


def _bucket(number: int, bound: str) -> Sample:
    def read(observed: Observed) -> int:
        return observed.counters.within(number)

    return _duration(read, (("le", bound),), "_bucket")


_BYTES = "Bytes of files that were given to the kernel, by how."

SAMPLES = (
    counter(
        "connections",
        "Connections that were accepted.",
        attrgetter("worker.accepted"),
    ),
    gauge(
        "open_connections",
        "Connections that have not ended.",
        attrgetter("worker.guests"),
    ),
    *(
        _requests(method, status)
        for method in (*_METHODS.values(), _OTHER)
        for status in _STATUSES
    ),
    counter(
        "body_bytes",
        "Bytes of bodies that were given to the kernel.",
        attrgetter("counters.body_bytes"),
    ),
    counter("file_bytes", _BYTES, attrgetter("service.ways.sendfile"), way="sendfile"),
    counter("file_bytes", _BYTES, attrgetter("service.ways.copied"), way="copied"),
    *(_bucket(*each) for each in enumerate((*map(str, _BOUNDS), "+Inf"))),
    _duration(attrgetter("counters.count"), (), "_count"),
    _duration(attrgetter("counters.microseconds"), (), "_sum", 1e-6),
    counter(
        "remembered",
        "Responses that were answered from memory.",
        attrgetter("from_memory"),
    ),
    gauge(
        "memory_bytes",
        "What is remembered, about.",
        attrgetter("service.memory.size"),
    ),
    gauge(
        "open_files",
        "Files that stay open from one request to the next.",
        attrgetter("service.open_files.count"),
    ),
    gauge("jobs", "Jobs that run, or wait for a thread.", attrgetter("jobs")),
)
"""All of it, as it is told to others; see `Sample`."""

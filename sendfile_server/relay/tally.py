"""What one worker has moved, what became of its connections, and how that is told."""

from dataclasses import dataclass, field
from operator import attrgetter

from sendfile_server.monitoring.samples import Sample
from sendfile_server.relay.flow import Moved


@dataclass(slots=True)
class Tally:
    """Counts of connections and bytes since the worker started."""

    accepted: int = 0
    ended: int = 0
    ended_spliced: int = 0
    """Those of which anything was spliced."""
    ended_copied: int = 0
    """Those of which nothing was; not those that never had a target."""
    failed: int = 0
    """Connections whose target could not be reached."""
    broken: int = 0
    """Connections that one side reset."""
    timed_out: int = 0
    """Connections on which nothing moved for too long."""
    to_target: Moved = field(default_factory=Moved)
    to_client: Moved = field(default_factory=Moved)

    @property
    def open(self) -> int:
        """How many connections have not ended."""
        return self.accepted - self.ended


_ENDED = "Connections that have ended, by whether anything of them was spliced."
_ERRORS = "Connections that ended by an error."
_BYTES = "Bytes that were forwarded."


def _counter(name: str, help_text: str, field_name: str, **labels: str) -> Sample:
    return Sample(name, help_text, attrgetter(field_name), tuple(labels.items()))


SAMPLES = (
    _counter("connections", "Connections that were accepted.", "accepted"),
    Sample(
        "open_connections",
        "Connections that have not ended.",
        attrgetter("open"),
        is_counter=False,
    ),
    _counter("ended_connections", _ENDED, "ended_spliced", way="spliced"),
    _counter("ended_connections", _ENDED, "ended_copied", way="copied"),
    _counter("errors", _ERRORS, "failed", kind="no-target"),
    _counter("errors", _ERRORS, "broken", kind="reset"),
    _counter("errors", _ERRORS, "timed_out", kind="timeout"),
    *(
        _counter("bytes", _BYTES, f"{flow}.{way}", direction=flow, way=way)
        for flow in ("to_target", "to_client")
        for way in ("spliced", "copied")
    ),
)
"""All of it, as it is told to others; see `Sample`."""

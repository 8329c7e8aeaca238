"""What one worker has moved, what became of its connections, and how that is told."""

from dataclasses import dataclass, field
from operator import attrgetter

from sendfile_server.monitoring.samples import counter, gauge
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
    refused: int = 0
    """Connections that did not begin with the header of a trusted proxy."""
    failed: int = 0
    """Connections whose target could not be reached."""
    broken: int = 0
    """Connections that one side reset."""
    timed_out: int = 0
    """Connections on which nothing moved for too long."""
    unrecorded: int = 0
    """Connections that were to be recorded, and were not, or not to their end."""
    to_target: Moved = field(default_factory=Moved)
    to_client: Moved = field(default_factory=Moved)

    def refuse(self) -> None:
        """Count a connection that was refused, and ended with that."""
        self.refused += 1
        self.ended += 1

    @property
    def open(self) -> int:
        """How many connections have not ended."""
        return self.accepted - self.ended


_ENDED = "Connections that have ended, by whether anything of them was spliced."
_ERRORS = "Connections that ended by an error."
_UNRECORDED = "Connections that were not recorded, or not to their end."
_BYTES = "Bytes that were forwarded."


SAMPLES = (
    counter("connections", "Connections that were accepted.", attrgetter("accepted")),
    gauge("open_connections", "Connections that have not ended.", attrgetter("open")),
    counter("ended_connections", _ENDED, attrgetter("ended_spliced"), way="spliced"),
    counter("ended_connections", _ENDED, attrgetter("ended_copied"), way="copied"),
    counter("errors", _ERRORS, attrgetter("refused"), kind="refused"),
    counter("errors", _ERRORS, attrgetter("failed"), kind="no-target"),
    counter("errors", _ERRORS, attrgetter("broken"), kind="reset"),
    counter("errors", _ERRORS, attrgetter("timed_out"), kind="timeout"),
    counter("unrecorded_connections", _UNRECORDED, attrgetter("unrecorded")),
    *(
        counter("bytes", _BYTES, attrgetter(f"{flow}.{way}"), direction=flow, way=way)
        for flow in ("to_target", "to_client")
        for way in ("spliced", "copied")
    ),
)
"""All of it, as it is told to others; see `Sample`."""

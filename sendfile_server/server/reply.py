"""What the stages before sending come to, for one request."""

from collections.abc import Iterable
from dataclasses import dataclass

from sendfile_server.resource.files import Evidence, OpenFile
from sendfile_server.response.heads import Plan
from sendfile_server.semantics.requests import Request


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send to *request*."""

    request: Request
    plan: Plan
    file: OpenFile | None = None
    """What the spans of the plan are of."""
    evidence: Evidence | None = None
    """What it rests on; None if it may be another one for the next such request."""

    def filled(self, pieces: Iterable[bytes]) -> "Reply":
        """Return the same reply with *pieces* of the file instead of their spans."""
        return Reply(self.request, self.plan.filled(pieces), None, self.evidence)

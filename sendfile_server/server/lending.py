"""What leaves often, in pages that are lent to sockets: wires, and bodies of files.

A wire, head and body, is copied to such a page when it leaves for the second time in
its second: to make a loan costs more than to copy once. The body of a big file is
copied when it is asked for all the time, for as long as it is. It costs less to send
than the file, which is looked at before each response, lest the head tells of another
state; and nothing can happen to it any more.
"""

from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import OpenFile, is_settled, is_unchanged
from sendfile_server.semantics.ranges import Span
from sendfile_server.server.remembered import Answer
from sendfile_server.transport.lending import HUGE_PAGE, Lender, Loan, Page

LEAST_LENT = 8192
"""Bytes from which a wire is lent: copying fewer takes no longer."""
HOT = 100
"""Uses within a second from which on it pays to copy a body."""


class Lending:
    """The loans of one worker; used on the loop only."""

    def __init__(self, pool: Pool, capacity: int) -> None:
        """Lend at most *capacity* bytes at once; what takes long is done in *pool*."""
        self._pool = pool
        self._wires = Lender("wires", capacity // 2)
        self._bodies = Lender("bodies", capacity // 2)
        self._page: Page | None = None
        """Where the next wires go."""
        self._is_out_of_pages = False
        self._lent: list[Answer] = []

    def lend_wire(self, answer: Answer) -> Loan | None:
        """Return the wire of *answer* as a loan; None if it is to be copied."""
        answer.uses += 1
        if answer.uses > 1:
            answer.loan = self._page.write(answer.wire) if self._page else None
            if answer.loan:
                self._lent.append(answer)
            else:
                self._turn_page()
        return answer.loan

    def note_body(self, answer: Answer, file: OpenFile, span: Span, now: int) -> None:
        """Note that *answer* leaves with *span* of *file*; if it is hot, copy that."""
        answer.uses += 1
        if (
            answer.uses != HOT
            or len(span) > HUGE_PAGE
            or self._pool.unfinished
            or not is_settled(file.identity, now)
        ):
            return

        def copied(result: Loan | Exception | None) -> None:
            if isinstance(result, Loan):  # else it leaves from the file, as before
                answer.loan = result
                self._lent.append(answer)

        self._pool.submit(lambda: _copy(self._bodies, file, span), copied)

    def tick(self) -> None:
        """Let go of the wires of the second that has ended, and of what was not hot."""
        for answer in self._lent:
            if answer.span is None or answer.uses < HOT:
                answer.loan = None
            answer.uses = 0
        self._lent = [answer for answer in self._lent if answer.loan]
        self._is_out_of_pages = False

    def _turn_page(self) -> None:
        """Have another page for wires."""
        if self._is_out_of_pages or self._pool.unfinished:
            return

        def turned(result: Page | Exception | None) -> None:
            self._page = result if isinstance(result, Page) else None
            self._is_out_of_pages = self._page is None

        self._page = None
        self._pool.submit(self._wires.take, turned)


def _copy(lender: Lender, file: OpenFile, span: Span) -> Loan | None:
    page = lender.take()
    if page is None or not page.is_huge:
        return None
    loan = page.copy(file.descriptor.number, span)
    return loan if is_unchanged(file) else None

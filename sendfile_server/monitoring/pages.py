"""What is told of a worker, and of all of them, at ``--metrics``."""

import socket

from sendfile_server.errors import ConfigError
from sendfile_server.hosting.guest import Closed
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.exchange import Exchange, Pages
from sendfile_server.monitoring.samples import Sheet
from sendfile_server.response.heads import Plan

_TEXT = b"text/plain; charset=utf-8"


def check_metrics() -> None:
    """Raise ConfigError unless the library is there that metrics need."""
    try:
        import sendfile_server.monitoring.exposition  # noqa: F401, PLC0415
    except ImportError:
        extra = "pip install 'sendfile-server[metrics]'"
        raise ConfigError(f"--metrics needs more than is installed: {extra}") from None


def show_pages(
    worker: Worker, sockets: list[socket.socket], sheet: Sheet, prefix: str
) -> None:
    """Have *worker* answer on *sockets*: metrics with names that begin with *prefix*.

    And whether it lives, and is ready for more.
    """
    from sendfile_server.monitoring.exposition import CONTENT_TYPE, expose  # noqa: PLC0415

    def metrics() -> Plan:
        return _plan(200, CONTENT_TYPE, expose(prefix, sheet.totals()))

    def live() -> Plan:
        return _plan(200, _TEXT, b"live\n")

    def ready() -> Plan:
        if worker.is_draining:
            return _plan(503, _TEXT, b"draining\n")
        return _plan(200, _TEXT, b"ready\n")

    pages: Pages = {b"/metrics": metrics, b"/live": live, b"/ready": ready}

    def receive(client: socket.SocketType, _: object, closed: Closed) -> Exchange:
        return Exchange(client, pages, worker.loop, worker.clock, closed)

    for sock in sockets:
        worker.listen_aside(sock, receive)


def _plan(status: int, content_type: bytes, body: bytes) -> Plan:
    fields = (
        (b"Content-Type", content_type),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
    )
    return Plan(status, fields, (body,))

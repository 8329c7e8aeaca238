"""What is told of a worker, and of all of them, at ``--metrics``."""

import json
import socket
import time
from dataclasses import asdict
from importlib.resources import files

from sendfile_server.errors import ConfigError
from sendfile_server.hosting.guest import Closed
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.exchange import Exchange, Pages
from sendfile_server.monitoring.samples import Sample, Sheet
from sendfile_server.response.heads import Plan
from sendfile_server.response.refusals import NO_SNIFFING

_TEXT = b"text/plain; charset=utf-8"
Field = tuple[bytes, bytes]
# The page is one piece, and asks only where it came from.
_OWN = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    b" connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)
_POLICY: Field = (b"Content-Security-Policy", _OWN)


def check_metrics() -> None:
    """Raise ConfigError unless the library is there that metrics need."""
    try:
        import sendfile_server.monitoring.exposition  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigError(
            "--metrics needs prometheus-client, of the extra sendfile-server[metrics]"
        ) from None


def show_pages(
    worker: Worker, sockets: list[socket.socket], sheet: Sheet, name: str
) -> None:
    """Have *worker*, of the program *name*, answer on *sockets*.

    It tells its metrics, whether it lives and is ready for more, and shows all of
    that to people.
    """
    from sendfile_server.monitoring.exposition import CONTENT_TYPE, expose  # noqa: PLC0415

    prefix = name.replace("-", "_")
    page = files("sendfile_server.monitoring").joinpath("status.html").read_bytes()

    def metrics() -> Plan:
        return _plan(200, CONTENT_TYPE, expose(prefix, sheet.totals()))

    def live() -> Plan:
        return _plan(200, _TEXT, b"live\n")

    def ready() -> Plan:
        if worker.is_draining:
            return _plan(503, _TEXT, b"draining\n")
        return _plan(200, _TEXT, b"ready\n")

    def show() -> Plan:
        return _plan(200, b"text/html; charset=utf-8", page, _POLICY)

    def status() -> Plan:
        shown = {
            "title": name,
            "state": "draining" if worker.is_draining else "ready",
            "time": time.time(),
            "samples": [_describe(*total) for total in sheet.totals()],
            "notices": [asdict(notice) for notice in worker.place.notices.read()],
        }
        return _plan(200, b"application/json", json.dumps(shown).encode())

    pages: Pages = {
        b"/metrics": metrics,
        b"/live": live,
        b"/ready": ready,
        b"/": show,
        b"/status.json": status,
    }

    def receive(client: socket.SocketType, _: object, closed: Closed) -> Exchange:
        return Exchange(client, pages, worker.loop, worker.clock, closed)

    for sock in sockets:
        worker.listen_aside(sock, receive)


def _describe(sample: Sample, number: int) -> dict[str, object]:
    return {
        "name": sample.name,
        "help": sample.help,
        "kind": sample.kind.value,
        "labels": dict(sample.labels),
        "suffix": sample.suffix,
        "value": number * sample.scale,
    }


def _plan(status: int, content_type: bytes, body: bytes, *more: Field) -> Plan:
    fields = (
        (b"Content-Type", content_type),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        NO_SNIFFING,
        *more,
    )
    return Plan(status, fields, (body,))

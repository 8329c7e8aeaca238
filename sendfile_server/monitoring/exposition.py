"""Totals as the text that Prometheus reads, by its own client library.

That is an extra, ``sendfile-server[metrics]``, so this module is imported only when
it is asked for.
"""

from collections.abc import Iterator
from itertools import groupby

from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from sendfile_server.monitoring.samples import Totals

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def expose(prefix: str, totals: Totals) -> bytes:
    """Return *totals* as text, with names that begin with *prefix*."""
    return generate_latest(_Totals(prefix, totals))


class _Totals(Collector):
    def __init__(self, prefix: str, totals: Totals) -> None:
        self._prefix = prefix
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        for name, group in groupby(self._totals, lambda total: total[0].name):
            totals = list(group)
            sample, _ = totals[0]
            full_name = f"{self._prefix}_{name}"
            metric = Metric(full_name, sample.help, sample.kind.value)
            for each, number in totals:
                metric.add_sample(
                    full_name + each.suffix, dict(each.labels), number * each.scale
                )
            yield metric

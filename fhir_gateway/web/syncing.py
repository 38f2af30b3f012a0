"""How far each partner and subscriber is, as figures for `/metrics`. They are counted in the store, for the worker may be another process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

ENDS: Final = ("sent", "withheld", "recalled", "superseded")


class Figures(Collector):
    """`seen` is the status of each partner with `outcomes` (how many entries ended how) and `now`, as it was asked last."""

    seen: Sequence[Mapping[str, Any]] = ()
    told: Sequence[Mapping[str, Any]] = ()  # how far each Subscription is

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("gateway_sync_lag_seconds", "Age of the oldest entry that waits for this remote", lambda s: s["lag_s"])
        yield self._gauge("gateway_sync_last_push_age_seconds", "Since something last went out well", lambda s: _age(s, "last_push"))
        yield self._gauge("gateway_sync_last_pull_age_seconds", "Since this remote was last asked for changes and answered", lambda s: _age(s, "last_pull"))
        yield self._gauge("gateway_remote_paused", "1 while this remote is away, asked to wait or does not know us", lambda s: float(bool(s["paused"])))
        yield self._gauge("gateway_remote_failures", "Failures in a row of this remote, the way in or out that has more", lambda s: s["failures"])
        yield self._gauge("gateway_recalls_open", "What is still to be taken back there", lambda s: s["recalls_open"])
        yield self._gauge("gateway_conflicts", "What both sides changed, and waits for a person", lambda s: s["conflicts"])
        yield self._gauge("gateway_quarantined", "What came from there, could not be taken, and waits for a person", lambda s: s["quarantined"])
        ended = CounterMetricFamily("gateway_sync_entries", "Outbox entries that ended, by how", labels=["remote", "outcome"])
        for s in self.seen:
            for end in ENDS:
                ended.add_metric([s["remote"], end], s["outcomes"].get(end, 0))
        yield ended
        yield from self._subscribers()

    def _subscribers(self) -> Iterator[Metric]:
        """By client: neither where it is told nor whom it is about."""
        counted = GaugeMetricFamily("gateway_subscriptions", "Subscriptions of this client, by status", labels=["client", "status"])
        waiting = GaugeMetricFamily("gateway_subscription_events_waiting", "Events that this client is still to be told", labels=["client"])
        failing = GaugeMetricFamily("gateway_subscription_failing_seconds", "How long an endpoint of this client has taken nothing", labels=["client"])
        for (client, status), n in sorted(Counter((s["client"], s["status"]) for s in self.told).items()):
            counted.add_metric([client, status], n)
        for client in sorted({s["client"] for s in self.told}):
            own = [s for s in self.told if s["client"] == client]
            waiting.add_metric([client], sum(s["queued"] for s in own))
            failing.add_metric([client], max(s["failing_s"] for s in own))
        yield from (counted, waiting, failing)

    def _gauge(self, name: str, text: str, value: Any) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["remote"])
        for s in self.seen:
            if (v := value(s)) is not None:
                family.add_metric([s["remote"]], v)
        return family


def _age(s: Mapping[str, Any], key: str) -> float | None:
    return max(0.0, (s["now"] - datetime.fromisoformat(s[key])).total_seconds()) if s[key] else None

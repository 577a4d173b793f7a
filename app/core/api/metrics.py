"""GET /metrics in Prometheus' text format, open to all; no label tells who asked what."""

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from app.core.api.ports import Library
from app.core.kernel.events import EventBus, RequestFinished

LATENCY_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts what the bus tells, from `subscribe()` on, in a registry of its own.

    `peers` tells how many are connected, None where the network is off.
    """

    def __init__(self, *, bus: EventBus, library: Library, peers: Callable[[], int | None]) -> None:
        self._bus = bus
        self._library = library
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "swarmllm_inference_requests", "Total inference requests processed", registry=self._registry
        )
        self._latency = Histogram(
            "swarmllm_inference_latency_seconds",
            "Inference request latency",
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        shards = Gauge("swarmllm_shards_hosted", "Number of locally hosted shards", registry=self._registry)
        shards.set_function(self._shards_hosted)
        connected = Gauge("swarmllm_peers_connected", "Number of connected peers", registry=self._registry)
        connected.set_function(lambda: peers() or 0)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self.show)]

    def subscribe(self) -> Callable[[], None]:
        """Starts counting; returns the call that ends it."""
        return self._bus.subscribe(RequestFinished, self._finished)

    async def show(self, _http: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    def _finished(self, event: RequestFinished) -> None:
        self._requests.inc()
        self._latency.observe(event.seconds)

    def _shards_hosted(self) -> float:
        return sum(shard.state == "present" for entry in self._library.models() for shard in entry.shards)

"""How far core-data is behind with storing results, and which results are not published because of it.

While it is more than Trigger.MaxStoreLag behind, a result is published only when other labels are found than in the
last one of its camera and pipeline, or a second after it. The others are counted (ResultsThinned), never stored late.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Set
from typing import NamedTuple
from urllib.parse import quote

from edgex_kit.clients.http import HttpClient
from edgex_kit.service.service import Service
from edgex_kit.wire.errors import EdgexError

from app_inference.pipeline.results import FrameResult
from app_inference.settings import AppSettings

log = logging.getLogger(__name__)

INTERVAL = 10.0  # seconds between two checks
SETTLE = 2.0  # seconds that core-data has for the newest result before a check
PERIOD = 1.0  # seconds between two results of a camera and pipeline that are alike, while results are thinned


class _Published(NamedTuple):
    labels: tuple[str, ...]
    at: float  # seconds, monotonic


class StoreLag:
    """Decides which results are published. Any thread may call `admits`, one at a time for each camera."""

    def __init__(self, service: Service[AppSettings], since_ns: int | None = None) -> None:
        self._service = service
        self._limit_s = service.settings.trigger.max_store_lag_s  # 0: core-data is not watched
        self._since_ns = time.time_ns() if since_ns is None else since_ns
        self._lag = service.metrics.gauge("StoreLagSeconds")
        self._thinned = service.metrics.counter("ResultsThinned")
        self._newest = ("", 0)  # camera and origin of the newest published result
        self._last: dict[tuple[str, str], _Published] = {}  # camera, pipeline
        self.is_thinning = False

    def admits(self, result: FrameResult) -> bool:
        """Whether to publish a result."""
        if self.is_thinning:
            key, now = (result.camera, result.pipeline), time.monotonic()
            labels, last = _labels(result), self._last.get(key)
            if last is not None and last.labels == labels and now - last.at < PERIOD:
                self._thinned.add()
                return False
            self._last[key] = _Published(labels, now)
        self._newest = result.camera, int(result.result_origin)
        return True

    def forget(self, cameras: Set[str]) -> None:
        """Drop what is kept of deleted cameras."""
        for key in [key for key in list(self._last) if key[0] in cameras]:
            self._last.pop(key, None)

    async def run(self) -> None:
        """Watch core-data until cancelled."""
        if not self._limit_s or self._service.settings.message_bus.disabled:
            return
        url, stored = self._service.settings.client("core-data", 59880).url, self._service.stored_secrets
        identify = stored.store.identity if stored is not None else dict
        with contextlib.closing(HttpClient(url, name="core-data", identify=identify)) as data:
            while True:
                await asyncio.sleep(INTERVAL)
                with contextlib.suppress(EdgexError):  # without core-data nothing is stored, and nothing is late
                    await self._check(data)

    async def _check(self, data: HttpClient) -> None:
        camera, origin = self._newest
        if not origin:
            return
        await asyncio.sleep(SETTLE)
        path = f"/api/v3/event/device/name/{quote(camera, safe='')}"
        events = await data.fetch(path, "events", params={"limit": "1"})
        stored = int(events[0]["origin"]) if events else 0
        if stored < self._since_ns:  # it has stored no result of this run: it may be configured not to
            return
        lag_s = max(0.0, (origin - stored) / 1e9)
        self._lag.set(lag_s)
        if lag_s > self._limit_s and not self.is_thinning:
            self._last.clear()
            self.is_thinning = True
            log.warning("core-data is %.0f s behind: results without a change are published once a second", lag_s)
        elif self.is_thinning and lag_s < self._limit_s / 2:
            self.is_thinning = False
            count = self._thinned.value
            log.info("core-data is %.0f s behind: all results are published again, %d were not", lag_s, count)


def _labels(result: FrameResult) -> tuple[str, ...]:
    if result.anomaly is not None:
        return (str(result.anomaly["isAnomalous"]),)
    return tuple(sorted(it.label for it in result.objects or result.classes or ()))

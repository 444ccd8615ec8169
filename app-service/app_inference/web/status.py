"""The state of this service as one JSON document: the answer of /api/v3/vision/status, shown by page and terminal."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from edgex_kit import API_VERSION, __version__
from edgex_kit.service.clock import new_origin
from edgex_kit.service.metrics import Counter, Metrics
from edgex_kit.service.service import Service

from app_inference.pipeline.counters import REPLACED
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan
from app_inference.pipeline.reload import pipeline_states
from app_inference.pipeline.serving import Models
from app_inference.rollout.reported import Reported
from app_inference.settings import AppSettings
from app_inference.web.cameras import KnownCamera

OVERLOAD_SHARE = 0.25  # of the frames
OVERLOAD_MS = 1000.0  # median latency


@dataclass(frozen=True, slots=True)
class Status:
    """The sources of the document's facts."""

    service: Service[AppSettings]
    view: LiveView
    models: Models
    plan: Callable[[], Plan]
    report: Callable[[], Reported]
    known: Callable[[], Mapping[str, KnownCamera]]
    warning: Callable[[str], str]  # of a pipeline
    since: float = field(default_factory=time.monotonic)  # seconds

    def now(self) -> dict[str, Any]:
        """The document; models that are still being loaded are in it."""
        plan, counts, known = self.plan(), counts_by_camera(self.service.metrics), self.known()
        return {
            **self._of_the_service(),
            "refusedKeys": [{"key": it.key, "reason": it.reason, "from": it.layer} for it in self.service.live.refused],
            "unknownKeys": list(self.service.live.unknown),
            "dropped": counts[""].dropped,  # of frames whose camera could not be told
            "cameras": [
                {**row, **msgspec.to_builtins(counts[row["name"]]), **state_of(row, known.get(row["name"]))}
                for row in self.view.status(known)
            ],
            "models": [{**row, "inferenceMs": self.view.inference_ms(row)} for row in self.models.status()],
            "updates": self.report(),
            "pipelines": msgspec.to_builtins(plan.sections),
            "pipelineStates": pipeline_states(plan, self.models, self.warning),
        }

    def _of_the_service(self) -> dict[str, Any]:
        service = self.service
        broker = service.settings.message_bus
        return {
            "apiVersion": API_VERSION,
            "serviceName": service.name,
            "version": __version__,
            "origin": str(new_origin()),  # this host's time, so that ages do not depend on the reader's clock
            "uptimeSeconds": round(time.monotonic() - self.since, 1),
            "broker": f"{broker.host}:{broker.port}",
            "isBrokerConnected": service.bus.is_connected,
            "resultsWaiting": service.metrics.gauge("ResultsWaiting").value,
            "resultsDropped": service.metrics.counter("ResultsDropped").value,
            "resultsResent": service.bus.unacknowledged,
        }


def state_of(row: Mapping[str, Any], known: KnownCamera | None) -> dict[str, str]:
    """The state of a camera, given its row and what core-metadata has, and the reason for it.

    locked, stopped: somebody wants it so. live; overloaded: it sends frames, and many of them are replaced, or results
    come late. waiting: no frame yet. lost: its device service gets no frames. stale: no frames come from the bus.
    """
    state, reason = "waiting", ""
    if known and known.admin_state == "LOCKED":
        state = "locked"
    elif row["isLive"]:
        reason = _overload(row)
        state = "overloaded" if reason else "live"
    elif known and known.is_off:
        state, reason = "stopped", known.reason
    elif known and (known.reason or known.operating_state == "DOWN"):
        state, reason = "lost", known.reason
    elif row["lastFrameOrigin"]:
        state = "stale"
    return {"state": state, "reason": reason}


def _overload(row: Mapping[str, Any]) -> str:
    """Why this machine is too slow for a camera; empty if it is not."""
    share, p50 = row["replacedShare"], row["latencyMs"]["p50"] or 0.0
    if share > OVERLOAD_SHARE:
        return f"{share:.0%} of its frames are replaced by newer ones before a worker is free"
    return f"half of its results take longer than {p50 / 1e3:.1f} s" if p50 > OVERLOAD_MS else ""


class Counts(msgspec.Struct, rename="camel"):
    """Frames of a camera by outcome."""

    frames_received: int = 0
    frames_analysed: int = 0
    frames_replaced: int = 0
    frames_lost: int = 0  # between the camera and this service; not among those received
    dropped: dict[str, int] = {}  # by reason, including the replaced ones


def counts_by_camera(metrics: Metrics) -> defaultdict[str, Counts]:
    """Counters by camera; "" counts the frames whose camera could not be told."""
    cameras: defaultdict[str, Counts] = defaultdict(Counts)
    for it in metrics:
        if not isinstance(it, Counter):
            continue
        counts = cameras[it.tags.get("camera", "")]
        if it.name == "FramesDropped":
            counts.dropped[it.tags["reason"]] = int(it.value)
        elif it.name == "FramesReceived":
            counts.frames_received = int(it.value)
        elif it.name == "FramesLost":
            counts.frames_lost = int(it.value)
        elif it.name == "FramesAnalysed":
            counts.frames_analysed = int(it.value)
    for counts in cameras.values():
        counts.frames_replaced = counts.dropped.get(REPLACED, 0)
    return cameras

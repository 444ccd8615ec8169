"""The state of this service as one JSON document: the answer of /api/v3/vision/status, shown by page and terminal."""

import time
from collections import defaultdict
from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Status:
    """The sources of the document's facts."""

    service: Service[AppSettings]
    view: LiveView
    models: Models
    plan: Callable[[], Plan]
    report: Callable[[], Reported]
    since: float = field(default_factory=time.monotonic)  # seconds

    def now(self) -> dict[str, Any]:
        """The document; models that are still being loaded are in it."""
        plan, counts = self.plan(), counts_by_camera(self.service.metrics)
        return {
            **self._of_the_service(),
            "dropped": counts[""].dropped,  # of frames whose camera could not be told
            "cameras": [{**row, **msgspec.to_builtins(counts[row["name"]])} for row in self.view.status()],
            "models": [{**row, "inferenceMs": self.view.inference_ms(row)} for row in self.models.status()],
            "updates": self.report(),
            "pipelines": msgspec.to_builtins(plan.sections),
            "pipelineStates": pipeline_states(plan, self.models),
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
        }


class Counts(msgspec.Struct, rename="camel"):
    """Frames of a camera by outcome."""

    frames_received: int = 0
    frames_analysed: int = 0
    frames_replaced: int = 0
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
        elif it.name == "FramesAnalysed":
            counts.frames_analysed = int(it.value)
    for counts in cameras.values():
        counts.frames_replaced = counts.dropped.get(REPLACED, 0)
    return cameras

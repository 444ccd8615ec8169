"""From what pipelines saw in a frame to events on the bus and news on the page, when it is the frame's turn."""

from collections.abc import Sequence

from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.messages import AddEventRequest, new_id

from app_inference.pipeline.counters import FrameCounters
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.queue import Leave, QueuedFrame
from app_inference.pipeline.results import Finding, FrameResult, answer_from, event_from
from app_inference.settings import AppSettings
from app_inference.sinks.destination import Destination
from app_inference.sinks.edgex_bus import ResultQueue


class Publisher:
    """The way of every result out of this service."""

    def __init__(
        self, service: Service[AppSettings], outbox: ResultQueue, view: LiveView, tally: FrameCounters
    ) -> None:
        template = service.settings.trigger.publish_topic
        self.destination = Destination(template, service.name, service.topics) if template else None
        self._service = service
        self._outbox = outbox
        self._view = view
        self._tally = tally

    def leave(self, arrival: QueuedFrame, frame: Frame, findings: Sequence[Finding]) -> Leave:
        """What happens when it is this frame's turn: its results get their origin, go out, and are seen on the page."""

        def out(gone_by: int) -> None:
            answered = arrival.lane.answered
            for finding in findings:
                answer = answer_from(finding, gone_by - answered.get(finding.pipeline, 0) - 1)
                answered[finding.pipeline] = gone_by
                if finding.is_told:
                    self._publish(answer, arrival.topic)
                self._view.answered(frame, answer)

        return out

    def _publish(self, answer: FrameResult, received: str) -> None:
        if self.destination is None:
            return
        event = event_from(answer)
        request = AddEventRequest(request_id=new_id(), event=event)
        limit = self._service.settings.max_event_size
        try:
            topic = self.destination.topic(event, received)
            data = codec.encode(request, encoding=self._service.encoding, limit_kb=limit)
        except EdgexError as error:  # too large, or no topic
            self._tally.failed(answer.camera, answer.pipeline, error)
            return
        self._outbox.send(topic, data)

"""What tests of the inbox stand on: an inbox without workers, which the test empties itself."""

from app_inference.pipeline.queue import FrameQueue, QueuedFrame

CAMERAS = ("gate", "yard", "dock")


class Rig:
    """An inbox, and what it said."""

    def __init__(self) -> None:
        self.refused = 0
        self.forgotten: list[str] = []
        self.inbox = FrameQueue(self.refuse, self.forgotten.extend)

    def refuse(self) -> None:
        self.refused += 1

    def take(self) -> QueuedFrame:
        arrival = self.inbox.take()
        assert arrival is not None
        return arrival

    def take_and_leave(self) -> str:
        arrival = self.take()
        arrival.leave(None)
        return arrival.topic

    def pass_through(self, topic: str) -> None:
        self.inbox.put(topic, b"x")
        self.take_and_leave()

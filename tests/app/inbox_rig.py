"""What tests of the queue stand on: an queue without workers, which the test empties itself."""

from app_inference.pipeline.queue import FrameQueue, QueuedFrame

CAMERAS = ("gate", "yard", "dock")


class Rig:
    """An queue, and what it said."""

    def __init__(self) -> None:
        self.refused = 0
        self.forgotten: list[str] = []
        self.queue = FrameQueue(self.refuse, self.forgotten.extend)

    def refuse(self) -> None:
        self.refused += 1

    def take(self) -> QueuedFrame:
        taken = self.queue.take()
        assert taken is not None
        return taken

    def take_and_finish(self) -> str:
        taken = self.take()
        taken.done(None)
        return taken.topic

    def pass_through(self, topic: str) -> None:
        self.queue.put(topic, b"x")
        self.take_and_finish()

"""Takes frame messages from the broker until it holds the JPEG, as app-inference does or as the standard library can.

`python -m benchmarks.receiver <host> <port> ours|standard-library`; answers every order with what it has received.
"""

import asyncio
import contextlib
import queue
import sys
import threading
from collections.abc import Iterator

import paho.mqtt.client as paho
from app_inference.pipeline.frame import frame_from_event
from app_inference.pipeline.queue import FrameQueue
from edgex_kit.bus.bus import Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire import codec
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import standard_library
from benchmarks.camera_frames import TOPICS
from benchmarks.programs import serve

PATTERN = TOPICS.below("frames/#")


class Received:
    """What has come, counted by the thread that decodes."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0

    def add(self, jpeg: bytes) -> None:
        self.frames += 1
        self.bytes += len(jpeg)

    def told(self, _order: object) -> dict[str, int]:
        return {"frames": self.frames, "bytes": self.bytes}


async def ours(host: str, port: int, received: Received) -> None:
    """Bus, inbox and a worker, until there are no more orders."""
    inbox = FrameQueue(lambda: None, lambda _topic: None)

    def receive(message: Message) -> None:
        inbox.put(message.topic, message.data)

    def work() -> None:
        while arrival := inbox.take():
            received.add(frame_from_event(codec.event_of(codec.decode_envelope(arrival.data))).data)
            arrival.done(None)

    async with open_bus(BusSettings(host=host, port=port)) as bus:
        bus.subscribe(PATTERN, receive)
        await bus.settle(5)
        with _thread(work, inbox.close):
            await asyncio.to_thread(serve, received.told)


def with_standard_library(host: str, port: int, received: Received) -> None:
    """paho, a queue and a worker, until there are no more orders."""
    waiting: queue.Queue[bytes | None] = queue.Queue(100)

    def work() -> None:
        while (message := waiting.get()) is not None:
            received.add(standard_library.decode_frame(message))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe(PATTERN)
    client.on_message = lambda _client, _data, message: waiting.put(message.payload)
    client.connect(host, port)
    client.loop_start()
    with _thread(work, lambda: waiting.put(None)):
        serve(received.told)
    client.disconnect()
    client.loop_stop()


@contextlib.contextmanager
def _thread(work, end) -> Iterator[None]:  # type: ignore[no-untyped-def]
    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        end()
        worker.join()


if __name__ == "__main__":
    where = sys.argv[1], int(sys.argv[2])
    if sys.argv[3] == "ours":
        asyncio.run(ours(*where, Received()))
    else:
        with_standard_library(*where, Received())

"""How large pictures have to be for the models that look at them, and who is asked for it."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from app_inference.pipeline import picture_size as picture_needs
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.picture_size import SizeRequests, needed_size
from app_inference.vision.image import Size
from app_inference.vision.resize import CROP, LETTERBOX, STANDARD, WINDOW
from device_camera.config import LEAST_LEASE
from edgex_kit.bus.bus import Bus, Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire import codec
from edgex_kit.wire.codec import PLAIN
from edgex_kit.wire.topics import Topics

HD, PORTRAIT = (1280, 720), (720, 1280)


@pytest.mark.parametrize(
    ("full", "inputs", "size"),
    [
        (HD, [((300, 300), STANDARD)], (534, 300)),
        (HD, [((300, 300), CROP)], (534, 300)),
        (HD, [((416, 416), LETTERBOX)], (416, 234)),
        (HD, [((416, 416), WINDOW)], (416, 234)),
        (PORTRAIT, [((416, 416), LETTERBOX)], (234, 416)),
        (HD, [((640, 384), LETTERBOX)], (640, 360)),
        (HD, [((300, 300), STANDARD), ((640, 640), LETTERBOX)], (640, 360)),
        (HD, [((299, 299), STANDARD)], (532, 300)),  # even sides
        (HD, [((1920, 1080), STANDARD)], HD),  # never more than there is
        ((641, 361), [((641, 361), STANDARD)], (641, 361)),
        (HD, [((100, 58), STANDARD)], (104, 58)),  # 720 * (58 / 720) is a hair above 58
        (HD, [], None),
    ],
)
def test_no_model_has_to_enlarge_what_it_is_shown(
    full: Size, inputs: list[tuple[Size, str]], size: Size | None
) -> None:
    assert needed_size(full, inputs) == size


def pipeline(*cameras: str, size: Size = (300, 300), resize: str = STANDARD) -> Any:
    """As much of one as decides how large a picture has to be."""
    model = SimpleNamespace(resolved=SimpleNamespace(size=size, resize=resize))
    served = SimpleNamespace(active=SimpleNamespace(models=lambda: [model]))
    return SimpleNamespace(served=served, wants=lambda camera: camera in cameras)


class Gateway:
    """A bus with the size requests on it, and core-command's answers, which are the test's."""

    def __init__(self, bus: Bus, base: str) -> None:
        self.view = LiveView()
        self.plan = SimpleNamespace(pipelines=[])
        self.asked: list[tuple[str, Any]] = []
        self.refusal = ""
        self.is_silent = False
        self._bus = bus
        self._topics = Topics(base)
        bus.subscribe(self._topics.below("core/command/request/#"), self._answer)
        self.service: Any = SimpleNamespace(bus=bus, topics=self._topics, name="app", encoding=PLAIN)

    def show(self, camera: str, full_size: Size | None = HD) -> None:
        self.view.arrived(Frame(camera, "f", 1, time.time_ns(), b"", "image/jpeg", full_size), 0)

    def asked_of(self, camera: str) -> list[Any]:
        return [body for topic, body in self.asked if topic.endswith(f"core/command/request/{camera}/PictureNeeds/set")]

    def _answer(self, message: Message) -> None:
        envelope = codec.decode_envelope(message.data)
        self.asked.append((message.topic, codec.decode_payload(envelope)))
        request_id = envelope.request_id
        data = codec.encode(None, request_id=request_id)
        if self.refusal:
            data = codec.encode_error(self.refusal, request_id=request_id)
        if not self.is_silent:
            self._bus.publish(self._topics.response("core-command", request_id), data)


@pytest.fixture
async def gateway(broker: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(picture_needs, "_INTERVAL", 0.02)
    async with open_bus(BusSettings(broker.host, broker.port)) as bus:
        gateway = Gateway(bus, uuid.uuid4().hex)
        await bus.settle(5)
        task = asyncio.create_task(SizeRequests(gateway.service, gateway.view, lambda: gateway.plan).run())  # type: ignore[arg-type,return-value]
        yield gateway
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def soon(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_camera_is_asked_when_it_is_heard_and_at_every_change_of_what_is_needed(gateway: Gateway) -> None:
    gateway.plan.pipelines = [pipeline("gate")]
    gateway.show("gate")
    await soon(lambda: gateway.asked_of("gate"))
    gateway.plan.pipelines = [pipeline("gate"), pipeline("gate", size=(640, 640), resize=LETTERBOX)]
    await soon(lambda: len(gateway.asked_of("gate")) > 1)
    await asyncio.sleep(0.2)
    said = [{"PictureNeeds": {"app": size}} for size in ("534x300", "640x360")]
    assert gateway.asked_of("gate") == said, "and not without a reason"


async def test_what_is_asked_is_asked_again_before_it_ends(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_needs, "RENEWAL", 0.1)
    gateway.plan.pipelines = [pipeline("gate")]
    gateway.show("gate")
    await soon(lambda: len(gateway.asked_of("gate")) > 2)


async def test_only_those_are_asked_that_follow_and_that_a_model_analyses(gateway: Gateway) -> None:
    gateway.plan.pipelines = [pipeline("gate", "fixed")]
    gateway.show("fixed", full_size=None)
    gateway.show("unseen")
    gateway.show("gate")
    await soon(lambda: gateway.asked_of("gate"))
    await asyncio.sleep(0.1)
    assert len(gateway.asked) == 1


async def test_without_core_command_one_line_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture_needs, "_AGAIN", 0.05)  # long before it would be asked again after an answer
    monkeypatch.setattr(picture_needs, "_WAIT", 0.05)
    gateway.is_silent = True
    gateway.plan.pipelines = [pipeline("gate", "yard")]
    gateway.show("gate")
    gateway.show("yard")
    await soon(lambda: len(gateway.asked_of("gate")) > 3)
    said = [record.message for record in caplog.records if record.name == picture_needs.__name__]
    assert said == ["cameras are not asked for smaller pictures: core-command does not answer"]


async def test_a_refusal_is_told_once_with_its_reason(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture_needs, "RENEWAL", 0.05)
    gateway.refusal = "device gate locked"
    gateway.plan.pipelines = [pipeline("gate")]
    gateway.show("gate")
    await soon(lambda: len(gateway.asked_of("gate")) > 3)
    said = [record.message for record in caplog.records if record.name == picture_needs.__name__]
    assert said == ["camera 'gate' was asked for pictures of 534x300: device gate locked"]


async def test_what_was_told_of_a_camera_is_forgotten_with_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture_needs, "_SILENCE", 0.2)
    gateway.refusal = "device gate locked"
    gateway.plan.pipelines = [pipeline("gate")]
    for times in (1, 2):
        gateway.show("gate")
        await soon(lambda count=times: caplog.text.count("device gate locked") == count)
        await asyncio.sleep(0.4)  # it is silent, and its name is not kept


def test_the_shortest_lease_of_a_camera_outlives_a_renewal_that_comes_late() -> None:
    late = picture_needs._INTERVAL + picture_needs._WAIT
    assert picture_needs.RENEWAL + late + picture_needs._AGAIN < LEAST_LEASE, "one that is not answered as well"

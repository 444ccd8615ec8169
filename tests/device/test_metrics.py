"""The cameras' counters as metrics."""

import asyncio
import time
from typing import Any

import pytest
from device_camera import metrics

from tests.conformance.waiting import until_soon
from tests.device.parts import OpenParts

pytestmark = pytest.mark.integration


async def test_metrics_balance_and_carry_device_and_reason(open_parts: OpenParts, monkeypatch: Any) -> None:
    monkeypatch.setattr(metrics, "_EVERY", 0.05)
    async with open_parts({"Writable": {"Camera": {"MaxFrameAge": "1ns"}}}) as parts:
        sampling = asyncio.create_task(parts.meters.run())
        counter, name = parts.service.metrics.counter, parts.name
        await until_soon(lambda: counter("FramesDropped", device=name, reason="stale").value > 3, "drops are counted")
        found = {(one.name, one.tags.get("reason", "")): one.value for one in parts.service.metrics}
        dropped = sum(value for (metric, _), value in found.items() if metric == "FramesDropped")
        assert found["FramesCaptured", ""] == found["FramesPublished", ""] + dropped
        assert found["LastConnected", ""] == 0, "no frame was published, no command was given"
        await parts.read("IsStreaming")
        assert parts.service.metrics.gauge("LastConnected", device=name).value
        sampling.cancel()


async def test_the_capture_rate_is_measured_and_metrics_end_with_the_device(open_parts: OpenParts) -> None:
    async with open_parts() as parts:
        assert parts.meters.capture_fps(parts.camera) == 0.0
        sampling = asyncio.create_task(parts.meters.run())
        begin, camera = time.monotonic(), parts.camera
        await until_soon(lambda: parts.meters.capture_fps(camera) > 20, "50 pictures a second come")
        assert time.monotonic() - begin < 8
        assert float(await parts.read("CaptureFps")) > 20
        captured = parts.service.metrics.counter("FramesCaptured", device=parts.name)
        assert 0 < captured.value <= camera.counters.captured
        parts.devices.remove(parts.name)
        assert not [metric for metric in parts.service.metrics if "device" in metric.tags]
        sampling.cancel()

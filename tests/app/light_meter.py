"""A model that sees a person where the light is, and cameras whose every frame has another light."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import yaml
from edgex_kit.bus.bus import open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.service.clock import new_origin
from edgex_kit.wire import codec
from edgex_kit.wire.messages import AddEventRequest, Event, Reading, new_id
from edgex_kit.wire.topics import Topics
from edgex_standin.address import Address
from openvino import opset13 as op

TOPICS = Topics("page")  # a prefix of its own on the broker that all tests share
BOX_WIDTH, BOX_TOP, BOX_BOTTOM = 0.25, 0.25, 0.75  # parts of the picture


def save_light_meter(folder: Path) -> None:
    """A detector whose one box stands the further right the lighter the picture is: at half the light."""
    picture = op.parameter([1, 3, 64, 64], np.float32, name="picture")
    left = op.multiply(op.reduce_mean(picture, np.arange(4)), np.float32(0.5 / 255))
    sides = [0, 0, 0.9, left, BOX_TOP, op.add(left, np.float32(BOX_WIDTH)), BOX_BOTTOM]
    row = op.concat([op.reshape(op.convert(_node(side), "f32"), np.array([1, 1, 1, 1]), False) for side in sides], 3)
    folder.mkdir(parents=True)
    ov.save_model(ov.Model([op.result(row)], [picture], "light-meter"), folder / "model.xml", compress_to_fp16=False)
    facts = {"schema": "vision.model/1", "name": "light-meter", "version": "1.0.0", "type": "ssd", "labels": ["person"]}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")


def _node(side: Any) -> Any:
    return op.constant(np.float32(side)) if isinstance(side, int | float) else side


@contextlib.asynccontextmanager
async def filming(broker: Address, camera: str, data: bytes | None = None) -> AsyncIterator[None]:
    """Frames of `camera` for the length of the block, ten a second; every one has another light than the one before."""
    async with open_bus(BusSettings(host=broker.host, port=broker.port)) as bus:
        assert await bus.settle(10)

        async def film() -> None:
            for seq in range(10_000):
                picture = data or gray_jpeg((seq * 3 % 7) / 7)
                bus.publish(
                    TOPICS.frame("device-camera", "vision-camera", camera, "Frame"), _frame(camera, seq, picture)
                )
                await asyncio.sleep(0.1)

        task = asyncio.create_task(film())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def gray_jpeg(light: float) -> bytes:
    return cv2.imencode(".jpg", np.full((180, 320, 3), round(light * 255), np.uint8))[1].tobytes()


def _frame(camera: str, seq: int, data: bytes) -> bytes:
    origin = new_origin()
    reading = Reading(
        id=new_id(), origin=origin, device_name=camera, resource_name="Frame", profile_name="vision-camera",
        value_type="Binary", binary_value=data, media_type="image/jpeg",
    )  # fmt: skip
    event = Event(
        api_version="v3", id=new_id(), device_name=camera, profile_name="vision-camera", source_name="Frame",
        origin=origin, tags={"frameId": new_id(), "seq": seq, "captureOrigin": str(origin)}, readings=(reading,),
    )  # fmt: skip
    return codec.encode(AddEventRequest(event=event))

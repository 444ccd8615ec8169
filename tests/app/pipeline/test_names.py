"""Labels that a model does not have and cameras that do not exist are named once, with the nearest right name."""

import asyncio
import logging
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from app_inference.pipeline import names as module
from app_inference.pipeline.names import UnknownNames
from edgex_kit.wire.errors import EdgexError, NotFound, Unreachable

pytestmark = pytest.mark.fault(27)


def pipeline(labels: Collection[str] = (), cameras: Collection[str] | None = None) -> Any:
    model = SimpleNamespace(labels=("person", "car"))
    cameras = None if cameras is None else frozenset(cameras)
    return SimpleNamespace(id="p", labels=frozenset(labels), cameras=cameras, served=SimpleNamespace(model=model))


class Gateway:
    """What core-metadata answers."""

    def __init__(self, error: EdgexError) -> None:
        self.error = error
        self.metadata = self

    async def device(self, name: str) -> None:
        if name != "thermometer":  # a device, and no camera
            raise self.error


async def found(
    of: Any, monkeypatch: pytest.MonkeyPatch, error: EdgexError | None = None, cameras: Collection[str] = ("dock-1",)
) -> str:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    plan: Any = SimpleNamespace(pipelines=(of,))
    gateway: Any = Gateway(error or NotFound("no such device"))
    names = UnknownNames(gateway, lambda: plan, lambda: cameras)
    task = asyncio.create_task(names.run())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    return names.of("p")


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (pipeline(["person"], ["dock-1", "thermometer"]), ""),
        (pipeline(), ""),
        (pipeline(["Persn", "dog"]), "label 'Persn' (is 'person' meant?), label 'dog'"),
        (pipeline(cameras=["dock1", "dock-1"]), "camera 'dock1' (is 'dock-1' meant?)"),
    ],
)
async def test_what_does_not_exist_is_logged_once_with_the_nearest_name(
    of: Any, text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert await found(of, monkeypatch) == text
    assert len(caplog.records) == len([it for it in text.split(", ") if it])


async def test_without_core_metadata_no_camera_is_called_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await found(pipeline(cameras=["dock1"]), monkeypatch, Unreachable("away"), ()) == ""

"""A camera whose pictures are as large as the models that look at them need them, and grow again when none does."""

import base64
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance.app_process import OpenApp, Stage, save_meter
from tests.conformance.camera_profile import PROFILE
from tests.conformance.openers import cameras
from tests.conformance.peers import WAIT, Bus, Core, Device, Heard, Metadata, OpenDevice, until

pytestmark = pytest.mark.timeout(120)

FULL, SMALL = (1280, 720), (534, 300)
RESOURCES = [
    {
        "name": "PictureNeeds",
        "attributes": {"setFunction": "PictureNeeds"},
        "properties": {"valueType": "Object", "readWrite": "W"},
    },
    {
        "name": "Status",
        "attributes": {"getFunction": "StreamingStatus"},
        "properties": {"valueType": "Object", "readWrite": "R"},
    },
]
AUTO = {"Camera": {"Source": "pattern:?size=1280x720&fps=10", "Fps": "10", "Size": "auto"}}


@pytest.fixture(scope="module")
def device(open_device: OpenDevice) -> Iterator[Device]:
    with open_device(f"sizes-{uuid.uuid4().hex[:6]}") as running:
        yield running


@pytest.fixture
def camera(metadata: Metadata, device: Device, unique: str) -> Iterator[str]:
    profile: dict[str, Any] = {**PROFILE, "deviceResources": [*PROFILE["deviceResources"], *RESOURCES]}
    with cameras(metadata, device, unique) as add:
        yield add(profile=profile, protocols=AUTO)


def size(frame: Heard) -> tuple[int, int]:
    tags = frame.payload["event"]["tags"]
    return tags["width"], tags["height"]


def topic(device: Device, camera: str) -> str:
    return f"edgex/frames/{device.service}/{camera}/{camera}/Frame"


def test_pictures_shrink_when_a_model_looks_and_grow_when_its_need_is_withdrawn(
    device: Device, camera: str, bus: Bus, stage: Stage, open_app: OpenApp, tmp_path: Path
) -> None:
    meter = save_meter(tmp_path, side=300)
    lamps = {"Model": str(meter), "Cameras": camera, "Threshold": 0.1}
    pipelines = {"Writable": {"Pipelines": {"lamps": lamps}}}
    with bus.listen(topic(device, camera)) as ear:
        first = ear.next()
        assert size(first) == FULL
        assert first.payload["event"]["tags"]["fullSize"] == "1280x720", "who looks learns that it may ask"
        with open_app(f"small-{uuid.uuid4().hex[:6]}", sections=pipelines) as app:
            assert size(ear.next(lambda frame: size(frame) != FULL, 30)) == SMALL
            assert device.value(camera, "Status")["AutoSize"] == f"534x300 for {app.key}"
            small = until(
                lambda: [it for it in stage.of(camera, "lamps") if it.said["image"]["width"] == 534], "a result"
            )[0]
            large = next(it for it in stage.of(camera, "lamps") if it.said["image"]["width"] == 1280)
        assert device.value(camera, "Status")["AutoSize"] == f"534x300 for {app.key}", "its lease goes on"
        answer = device.put(camera, "PictureNeeds", {"PictureNeeds": {app.key: ""}})
        assert answer.status_code == 200, answer.text
        assert size(ear.next(lambda frame: size(frame) != SMALL)) == FULL
    (found,), (before,) = small.said["objects"], large.said["objects"]
    assert found["box"] == pytest.approx([534 / 4, 300 / 4, 534 * 3 / 4, 300 * 3 / 4], abs=0.2)
    assert found["boxNorm"] == pytest.approx(before["boxNorm"], abs=0.001), "the same part of the picture"
    assert found["score"] == pytest.approx(before["score"], abs=0.01), "the model saw the same"


def test_the_greatest_size_asked_for_is_in_force_by_either_door(
    device: Device, camera: str, bus: Bus, core: Core
) -> None:
    with bus.listen(topic(device, camera)) as ear:
        ear.next()
        url = f"{core.command}/api/v3/device/name/{camera}/PictureNeeds"
        answer = requests.put(url, json={"PictureNeeds": {"one": "416x234"}}, timeout=WAIT)
        assert answer.status_code == 200, answer.text
        assert size(ear.next(lambda frame: size(frame) != FULL)) == (416, 234)
        request = f"edgex/core/command/request/{camera}/PictureNeeds/set"
        bus.ask(request, "edgex/response/core-command", {"PictureNeeds": {"another": "300x300"}})
        assert size(ear.next(lambda frame: size(frame) != (416, 234))) == SMALL
        bus.ask(request, "edgex/response/core-command", {"PictureNeeds": {"another": "", "one": "9999x9999"}})
        assert size(ear.next(lambda frame: size(frame) != SMALL)) == FULL, "never more than there is"
        wrong = bus.ask(request, "edgex/response/core-command", {"PictureNeeds": {"one": "tiny"}})
    assert wrong.envelope["errorCode"] == 1
    assert "a size such as 534x300 expected, got 'tiny'" in _text(wrong)


def _text(answer: Heard) -> str:
    """Of a refusal, plain or in base64."""
    text = answer.payload
    return text if " " in text else base64.b64decode(text).decode()

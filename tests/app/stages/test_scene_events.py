"""Tracks, zones and their events through the whole service: frames in, events on the bus."""

import time
from pathlib import Path

import pytest
from edgex_standin.address import Address

from tests.conformance.app_process import METER, bus_section, configure, open_stage, run_app, save_meter
from tests.conformance.peers import until

pytestmark = pytest.mark.integration

LIGHT, DARK = 200, 0  # the model sees a lamp in the middle of a light picture
TRACKER = {"people": {"Kind": "tracker", "Keep": "500ms"}}
MIDDLE = {"Zones": {"middle": "0.3,0.5,0.7,0.5,0.7,1,0.3,1"}, "ZoneRules": {"middle": {"Enter": "200ms"}}}


def test_an_object_that_comes_and_goes_is_told_once_of_each(tmp_path: Path, broker: Address, unique: str) -> None:
    save_meter(tmp_path / "models")
    pipelines = {"Pipelines": {"default": {**METER, "Threshold": 0.3, "Stages": TRACKER}}, "Scenes": {"door": MIDDLE}}
    folder = configure(tmp_path, MessageBus=bus_section(broker, unique), Writable=pipelines)
    with run_app(folder, "-s"), open_stage(broker.host, broker.port, unique) as stage:
        for step, light in enumerate([LIGHT] * 6 + [DARK] * 6):
            stage.show("door", light, seq=step)
            time.sleep(0.15)
        until(lambda: len(stage.of("door", "end")) == 1, "the track ends")
        results = [it.said for it in stage.of("door", "default")]
        scene = [it for it in stage.told if "/scene-event/" in it.topic]
    assert {found.get("id") for it in results for found in it.get("objects", ())} == {None, 1}  # from the second sight
    assert [it.said["type"] for it in scene] == ["new", "enter", "leave", "end"]
    enter = scene[1]
    assert enter.topic == f"{unique}/events/device/app-inference/scene-event/door/enter"
    assert enter.event["tags"] == {"pipeline": "default"}
    named = {it["resourceName"]: it.get("value") for it in enter.event["readings"]}
    assert (named["EventType"], named["TrackId"], named["Zone"], named["Label"]) == ("enter", "1", "middle", "lamp")
    assert scene[3].said["bestFrameId"] in {it["frameId"] for it in results}

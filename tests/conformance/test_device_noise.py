"""Nonsense on every topic a device service listens to: it goes on, says it once, and counts."""

import json
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests

from tests.conformance.peers import WAIT, AddCamera, Bus, Core, Device, Metadata, OpenDevice, named_core, until

FLOOD = 10_000

NONSENSE = [
    b"",
    b"\x00\xff\xfe",
    b"{",
    b"[]",
    b'"text"',
    b"{}",
    b'{"payload": 7}',
    json.dumps({"apiVersion": "v3", "contentType": "application/json", "payload": "no base64!"}).encode(),
    json.dumps({"apiVersion": "v3", "contentType": "application/cbor", "payload": "/////w=="}).encode(),
    json.dumps({"apiVersion": "v3", "contentType": "application/json", "payload": {"type": 1}}).encode(),
    b"\xbf" * 300,
    b"[" * 5000,
]


TOPICS = [
    "edgex/device/command/request/{0}/{1}/Rate/get",
    "edgex/device/command/request/{0}/{1}/Rate/set",
    "edgex/device/command/request/{0}",
    "edgex/{0}/validate/device",
    "edgex/system-events/core-metadata/provisionwatcher/update/{0}/{1}",
    "edgex/configs/edgex/v4/{0}/Writable/LogLevel",
]
# Others hear these, too. In such a flood EdgeX's own services lose their broker, and with it the tests that follow.
SHARED = [
    "edgex/system-events/core-metadata/device/update/{0}/{1}",
    "edgex/system-events/core-metadata/deviceprofile/delete/nobody",
    "edgex/configs/edgex/v4/core-common-config-bootstrapper/all-services/Writable/X",
]


@pytest.fixture
def noisy(open_device: OpenDevice) -> Iterator[Device]:
    with open_device(f"noise-{uuid.uuid4().hex[:6]}") as one:
        yield one


def answers(bus: Bus, one: Device, camera: str) -> bool:
    """Whether a command over the bus is answered; in a flood the broker may lose one."""
    topic = f"edgex/device/command/request/{one.service}/{camera}/Rate/get"
    try:
        return bool(bus.ask(topic, f"edgex/response/{one.service}", None, 3).payload["statusCode"] == 200)
    except pytest.fail.Exception:
        return False


@pytest.mark.system
@pytest.mark.timeout(300)
def test_ten_thousand_pieces_of_nonsense_on_every_topic_change_nothing(
    noisy: Device, add_camera: AddCamera, bus: Bus, core: Core
) -> None:
    camera = add_camera(to=noisy)
    for topic in [*TOPICS, *(SHARED if named_core() is None else ())]:
        before = len(noisy.log.read_text().splitlines())
        place = topic.format(noisy.service, camera)
        for number in range(FLOOD):
            bus.shout(place, NONSENSE[number % len(NONSENSE)])
        until(lambda: bus.is_quiet, "all is sent", 60)
        until(lambda: answers(bus, noisy, camera), f"it answers after nonsense on {place}", 60)
        assert noisy.event(camera, "Source"), "over HTTP as well"
        said = noisy.log.read_text().splitlines()[before:]
        assert len(said) < 10, (place, said[:10])
    prefix = f"{core.keeper}/api/v3/kvs/key/edgex/v4/{noisy.service}/Writable/Telemetry"
    counted: dict[str, int] = {}
    with bus.listen(f"edgex/telemetry/{noisy.service}/MalformedMessages") as ear:
        requests.put(f"{prefix}/Metrics/MalformedMessages", json={"value": "true"}, timeout=WAIT)
        requests.put(f"{prefix}/Interval", json={"value": "1s"}, timeout=WAIT)
        while len(counted) < 3:
            metric = ear.next().payload
            kind = next(tag["value"] for tag in metric["tags"] if tag["name"] == "kind")
            counted[kind] = metric["fields"][0]["value"]
    assert counted["commands"] > FLOOD
    assert counted["validation"] > FLOOD / 2
    assert counted["system events"] > FLOOD


@pytest.mark.system
@pytest.mark.fault(5)
@pytest.mark.parametrize("name", ["gate+1", "gate#1"])
def test_a_camera_that_no_topic_can_name_is_down_with_the_reason(
    device: Device, metadata: Metadata, add_camera: AddCamera, unique: str, name: str
) -> None:
    """Such devices are refused, but one may be in core-metadata already: nobody could receive its frames."""
    profile, odd = add_camera(), f"{name}-{unique}"
    item = {**metadata.device(profile), "name": odd}
    for key in ("id", "created", "modified"):
        item.pop(key, None)
    refused = metadata.add("device", item)
    assert refused["statusCode"] == 500
    assert "topic" in refused["message"]
    assert metadata.add("device", item, bypassValidation="true")["statusCode"] == 201
    try:
        until(lambda: metadata.device(odd)["operatingState"] == "DOWN", "it is DOWN")
        assert "topic" in device.get(odd, "Source").json()["message"]
        assert metadata.device(profile)["operatingState"] == "UP"
    finally:
        metadata.delete(f"device/name/{quote(odd, safe='')}")

"""A device service's start, life and end: the checklist's points 13, 28 to 33, 59 to 65, 68, 70 and 71.

The same tests run against the stand-in and, with EDGEX_CORE_KEEPER and its like, against EdgeX's own services.
"""

import copy
import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance.camera_profile import PROFILE
from tests.conformance.openers import provisioning
from tests.conformance.peers import (
    WAIT,
    AddCamera,
    Bus,
    Core,
    Device,
    Heard,
    Metadata,
    OpenDevice,
    events_of,
    short,
    until,
)

checklist = pytest.mark.checklist


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=WAIT).status_code == 200
    except requests.ConnectionError:
        return False


@checklist(28, 29, 31)
def test_the_record_says_where_the_service_answers(device: Device, metadata: Metadata) -> None:
    record = metadata.get(f"deviceservice/name/{device.service}")["service"]
    assert record["baseAddress"] == device.url
    assert record["adminState"] == "UNLOCKED"
    answer = requests.get(f"{record['baseAddress']}/api/v3/ping", timeout=WAIT).json()
    assert (answer["apiVersion"], answer["serviceName"]) == ("v3", device.service)


@checklist(28)
def test_http_answers_before_there_is_a_broker(open_device: OpenDevice, free_port: int) -> None:
    """A service without its broker waits, and says for what, but is there."""
    flags = ("-rsh=localhost,127.0.0.9,localhost",)  # nobody is at 127.0.0.9
    with open_device(f"nobus-{short()}", *flags, waits=True, SERVICE_PORT=str(free_port)) as lonely:
        until(lambda: "no message broker at 127.0.0.9" in lonely.log.read_text(), "it says what it waits for")
        until(lambda: answers(f"http://localhost:{free_port}/api/v3/ping"), "it answers")
        assert lonely.process.poll() is None


@checklist(29, 32, 33)
def test_files_become_profiles_devices_and_watchers(
    open_device: OpenDevice, metadata: Metadata, files: Path, unique: str
) -> None:
    """Devices are validated by the service itself while it starts, so it must listen before it POSTs them."""
    (files / "profiles/a.yaml").write_text(f"name: {unique}\ndeviceResources: []\n")
    (files / "devices/a.yaml").write_text(
        f"deviceList:\n- name: {unique}-yaml\n  profileName: {unique}\n  adminState: LOCKED\n"
        "  operatingState: DOWN\n  protocols: {Camera: {Source: 'pattern:'}}\n"
    )
    (files / "devices/b.json").write_text(
        f'[{{"name": "{unique}-json", "profileName": "{unique}", "protocols": {{"Camera": {{"Source": "pattern:"}}}}}}]'
    )
    (files / "devices/notes.txt").write_text("no device")
    (files / "watchers/w.yaml").write_text(
        f"name: {unique}\nidentifiers: {{Source: v4l2}}\n"
        f"discoveredDevice: {{profileName: {unique}, adminState: UNLOCKED}}\n"
    )
    try:
        for _ in range(2):  # the second time everything is there already
            with open_device(f"files-{unique[-8:]}", **provisioning(files)) as started:
                for name in (f"{unique}-yaml", f"{unique}-json"):
                    found = metadata.device(name)
                    assert found["serviceName"] == started.service
                    assert (found["adminState"], found["operatingState"]) == ("UNLOCKED", "UP")
                    until(lambda name=name: started.get(name, "x").status_code == 404, f"{name} has a profile")
                watchers = metadata.get(f"provisionwatcher/service/name/{started.service}")["provisionWatchers"]
                assert [watcher["name"] for watcher in watchers] == [unique]
    finally:
        for path in (f"device/name/{unique}-yaml", f"device/name/{unique}-json", f"provisionwatcher/name/{unique}"):
            metadata.delete(path)
        metadata.delete(f"deviceprofile/name/{unique}")


@checklist(30, 31)
def test_a_restarted_service_finds_its_devices_and_stays_locked(
    open_device: OpenDevice, add_camera: AddCamera, metadata: Metadata
) -> None:
    name = f"again-{short()}"
    with open_device(name) as first:
        cameras = [add_camera(f"-{number}", to=first) for number in range(25)]  # more than a page of core-metadata
        metadata.change("deviceService", {"name": first.service, "adminState": "LOCKED"}, key="service")
        until(lambda: first.get(cameras[0], "Rate").status_code == 423, "the service is locked")
    with open_device(name) as second:
        record = metadata.get(f"deviceservice/name/{second.service}")["service"]
        assert (record["adminState"], record["baseAddress"]) == ("LOCKED", second.url)
        assert second.get(cameras[0], "Rate").json()["message"] == "service locked"
        metadata.change("deviceService", {"name": second.service, "adminState": "UNLOCKED"}, key="service")
        for camera in cameras:
            until(lambda camera=camera: second.get(camera, "Rate").status_code == 200, f"{camera} answers")


@checklist(59)
@pytest.mark.parametrize(
    ("protocols", "reason"),
    [
        ({"Camera": {"Source": "ftp://camera/stream"}}, "ftp://camera/stream"),
        ({"Camera": {"Source": "rtsp://admin:hunter2@camera/stream"}}, "SecretName"),
        ({"Camera": {"Source": "pattern:", "Password": "hunter2"}}, "SecretName"),
        ({"Camera": {"Source": "pattern:", "Fps": "many"}}, "Fps"),
        ({"USB": {"Path": "/dev/video0"}}, "protocols.Camera.Source"),
    ],
)
def test_a_device_the_service_cannot_run_is_refused_with_the_reason(
    device: Device, metadata: Metadata, camera: str, unique: str, protocols: dict[str, Any], reason: str
) -> None:
    item = {
        "name": f"{unique}-refused",
        "serviceName": device.service,
        "profileName": camera,
        "adminState": "UNLOCKED",
        "operatingState": "UP",
        "protocols": protocols,
    }
    result = metadata.add("device", item)
    assert result["statusCode"] == 500
    assert "validation failed" in result["message"]
    assert reason in result["message"]
    assert "hunter2" not in result["message"]


@checklist(59)
def test_a_request_that_is_no_device_gets_an_error(device: Device, bus: Bus) -> None:
    answer = bus.ask(f"edgex/{device.service}/validate/device", f"edgex/response/{device.service}", {"device": 7})
    assert (answer.envelope["errorCode"], answer.envelope["contentType"]) == (1, "text/plain")


@checklist(60, 61)
def test_devices_come_and_go_without_a_restart(
    device: Device, add_camera: AddCamera, metadata: Metadata, bus: Bus
) -> None:
    camera = add_camera()
    assert device.event(camera, "Rate")
    assert metadata.delete(f"device/name/{camera}") == 200
    until(lambda: device.get(camera, "Rate").status_code == 404, "the device is gone")
    with bus.listen(f"edgex/frames/{device.service}/{camera}/#") as ear:
        assert ear.is_silent(0.5)


@checklist(61)
def test_a_changed_source_takes_effect_without_a_restart(device: Device, camera: str, metadata: Metadata) -> None:
    metadata.change("device", {"name": camera, "protocols": {"Camera": {"Source": "pattern:?size=320x240", "Fps": 3}}})
    until(lambda: device.value(camera, "Source") == "pattern:?size=320x240", "the new source is in use")
    assert device.value(camera, "Rate") == "3e+00"


@checklist(62)
def test_a_locked_device_stops_its_auto_events_and_frames(
    device: Device, add_camera: AddCamera, metadata: Metadata, bus: Bus
) -> None:
    camera = add_camera(autoEvents=[{"interval": "150ms", "onChange": False, "sourceName": "Rate"}])
    with bus.listen(events_of(device, camera, "Rate")) as ear, bus.listen(f"edgex/frames/{device.service}/#") as frames:
        ear.next()
        metadata.change("device", {"name": camera, "adminState": "LOCKED"})
        until(lambda: device.get(camera, "Rate").status_code == 423, "the device is locked")
        until(lambda: ear.is_silent(0.5), "no auto events come")
        until(lambda: frames.is_silent(0.5, lambda heard: camera in heard.topic), "no frames come")
        metadata.change("device", {"name": camera, "adminState": "UNLOCKED"})
        ear.next()
        frames.next(lambda heard: camera in heard.topic)


@checklist(63)
def test_a_device_that_moves_to_another_service_is_let_go_and_taken_over(
    device: Device, open_device: OpenDevice, camera: str, metadata: Metadata
) -> None:
    with open_device(f"other-{short()}") as other:
        metadata.change("device", {"name": camera, "serviceName": other.service})
        until(lambda: device.get(camera, "Rate").status_code == 404, "the old service has let it go")
        until(lambda: other.get(camera, "Rate").status_code == 200, "the new service has it")
        metadata.delete(f"device/name/{camera}")


@checklist(64)
def test_a_device_may_change_its_profile(device: Device, camera: str, metadata: Metadata, unique: str) -> None:
    profile = copy.deepcopy({**PROFILE, "name": f"{unique}-2"})
    profile["deviceResources"][1]["name"] = "Speed"  # type: ignore[index]
    profile["deviceCommands"] = []
    assert metadata.add("deviceProfile", profile, key="profile")["statusCode"] == 201
    try:
        metadata.change("device", {"name": camera, "profileName": f"{unique}-2"})
        until(lambda: device.get(camera, "Speed").status_code == 200, "the new profile counts")
        assert device.get(camera, "Rate").status_code == 404
    finally:
        metadata.delete(f"device/name/{camera}")
        metadata.delete(f"deviceprofile/name/{unique}-2")


@checklist(65, 68)
def test_a_locked_service_refuses_commands_and_discovery(
    open_device: OpenDevice, add_camera: AddCamera, metadata: Metadata
) -> None:
    with open_device(f"locked-{short()}", DEVICE_DISCOVERY_ENABLED="true") as one:
        camera = add_camera(to=one)
        metadata.change("deviceService", {"name": one.service, "adminState": "LOCKED"}, key="service")
        until(lambda: one.get(camera, "Rate").status_code == 423, "the service is locked")
        assert one.put(camera, "Rate", {"Rate": 1}).status_code == 423
        assert requests.post(f"{one.url}/api/v3/discovery", timeout=WAIT).status_code == 423
        metadata.change("deviceService", {"name": one.service, "adminState": "UNLOCKED"}, key="service")
        until(lambda: one.get(camera, "Rate").status_code == 200, "the service is open again")


@checklist(70)
def test_a_device_goes_down_after_so_many_failures_and_up_again_with_a_success(
    open_device: OpenDevice, add_camera: AddCamera, metadata: Metadata
) -> None:
    allowed = {"DEVICE_ALLOWEDFAILS": "3", "DEVICE_DEVICEDOWNTIMEOUT": "1"}
    with open_device(f"fails-{short()}", **allowed) as one:
        camera = add_camera(to=one)
        for _ in range(3):
            assert metadata.device(camera)["operatingState"] == "UP"
            assert one.get(camera, "Broken").status_code == 500
        until(lambda: metadata.device(camera)["operatingState"] == "DOWN", "the device is DOWN")
        until(lambda: metadata.device(camera)["operatingState"] == "UP", "it was tried and is UP")
        until(lambda: one.get(camera, "Rate").status_code == 200, "commands are let through")


@checklist(70)
def test_a_lost_camera_is_down_with_a_reason_and_up_when_it_is_back(
    device: Device, add_camera: AddCamera, metadata: Metadata, bus: Bus, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    profile = copy.deepcopy(PROFILE)
    profile["deviceResources"].append(  # type: ignore[attr-defined]
        {
            "name": "StreamingStatus",
            "attributes": {"getFunction": "StreamingStatus"},
            "properties": {"valueType": "Object", "readWrite": "R"},
        }
    )
    with bus.listen(f"edgex/events/device/{device.service}/#") as ear:
        camera = add_camera(profile=profile, protocols={"Camera": {"Source": str(folder)}})
        until(lambda: metadata.device(camera)["operatingState"] == "DOWN", "the camera is lost")
        refused = until(lambda: (it := device.get(camera, "Rate")).status_code == 423 and it.json(), "it refuses")
        assert "no such file" in refused["message"]

        def says_lost(heard: Heard) -> bool:
            is_ours = heard.topic.endswith(f"/{camera}/StreamingStatus")
            return is_ours and heard.payload["event"]["readings"][0]["objectValue"]["State"] == "lost"

        report = ear.next(says_lost).payload["event"]["readings"][0]["objectValue"]
        assert report["IsStreaming"] is False
        assert "no such file" in report["Error"]
        folder.mkdir()
        (folder / "1.jpg").write_bytes(device.event(add_camera("-b"), "Frame")["readings"][0]["binaryValue"])
        until(lambda: metadata.device(camera)["operatingState"] == "UP", "the camera is back")
        assert device.get(camera, "Frame").status_code == 200


@checklist(71)
def test_metrics_are_published_where_they_are_wanted(
    open_device: OpenDevice, add_camera: AddCamera, bus: Bus, core: Core
) -> None:
    with open_device(f"meters-{short()}") as one:
        prefix = f"{core.keeper}/api/v3/kvs/key/edgex/v4/{one.service}/Writable/Telemetry"
        names = ["EventsSent", "ReadingsSent", "LastConnected", "FramesCaptured", "FramesPublished", "FramesDropped"]
        with bus.listen(f"edgex/telemetry/{one.service}/#") as ear:
            camera = add_camera(to=one)
            for name in names:
                requests.put(f"{prefix}/Metrics/{name}", json={"value": "true"}, timeout=WAIT)
            requests.put(f"{prefix}/Interval", json={"value": "1s"}, timeout=WAIT)
            seen: dict[str, dict[str, Any]] = {}
            while set(names) - set(seen):
                heard = ear.next()
                seen[heard.payload["name"]] = heard.payload
                assert heard.topic == f"edgex/telemetry/{one.service}/{heard.payload['name']}"
    for metric in seen.values():
        assert metric["tags"][0] == {"name": "service", "value": one.service}
    assert seen["EventsSent"]["fields"][0]["name"] == "counter-count"
    assert {"name": "device", "value": camera} in seen["LastConnected"]["tags"]
    assert seen["LastConnected"]["fields"][0]["name"] == "gauge-value"
    assert {tag["name"] for tag in seen["FramesDropped"]["tags"]} == {"service", "device", "reason"}


@checklist(13)
def test_a_signal_ends_it_cleanly_and_the_registry_knows(open_device: OpenDevice, core: Core) -> None:
    with open_device(f"ends-{short()}") as one:
        url = f"{core.keeper}/api/v3/registry/serviceId/{one.service}"
        until(lambda: requests.get(url, timeout=WAIT).json()["registration"]["status"] == "UP", "it is UP", 15)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(WAIT) == 0
        assert requests.get(url, timeout=WAIT).json()["registration"]["status"] == "HALT"

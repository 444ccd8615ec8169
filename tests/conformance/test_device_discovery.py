"""Cameras that a device service finds by itself: the checklist's points 68 and 69.

The same tests run against the stand-in and, with EDGEX_CORE_KEEPER and its like, against EdgeX's own services.
"""

import uuid
from pathlib import Path

import pytest
import requests

from tests.conformance.openers import provisioning
from tests.conformance.peers import WAIT, Bus, Device, Metadata, OpenDevice, short

checklist = pytest.mark.checklist


@checklist(68)
def test_discovery_is_accepted_where_it_is_enabled(open_device: OpenDevice, device: Device, bus: Bus) -> None:
    refused = requests.post(f"{device.url}/api/v3/discovery", timeout=WAIT)
    assert (refused.status_code, refused.json()["message"]) == (503, "device discovery disabled")
    with open_device(f"finds-{short()}", DEVICE_DISCOVERY_ENABLED="true") as finds:
        topic = f"edgex/system-events/{finds.service}/device/discovery/{finds.service}"
        request_id = str(uuid.uuid4())
        with bus.listen(topic) as ear:
            answer = requests.post(
                f"{finds.url}/api/v3/discovery", headers={"X-Correlation-ID": request_id}, timeout=WAIT
            )
            assert answer.status_code == 202
            body = answer.json()
            assert (body["requestId"], body["statusCode"]) == (request_id, 202)
            assert body["message"] == "Device Discovery is triggered."
            began, ended = ear.next(), ear.next()
        assert began.payload["details"] == {"requestId": request_id, "progress": 0}
        assert (ended.payload["details"]["progress"], ended.payload["details"]["requestId"]) == (100, request_id)
        assert (ended.payload["type"], ended.payload["action"], ended.payload["owner"]) == (
            "device",
            "discovery",
            finds.service,
        )
        assert requests.delete(f"{finds.url}/api/v3/discovery", timeout=WAIT).status_code == 200


def plug_in(sysfs: Path, dev: Path, number: int, port: str, serial: str) -> None:
    """A made-up camera below made-up /sys and /dev."""
    usb = sysfs / "devices/pci0000:00/0000:00:14.0/usb1" / port
    node = usb / f"{port}:1.0/video4linux/video{number}"
    node.mkdir(parents=True)
    (usb / "serial").write_text(serial + "\n")
    (node / "name").write_text("HD Cam: HD Cam\n")
    (node / "index").write_text("0\n")
    (node / "device").symlink_to(node.parent.parent)
    (sysfs / "class/video4linux").mkdir(parents=True, exist_ok=True)
    (sysfs / f"class/video4linux/video{number}").symlink_to(node)
    dev.mkdir(exist_ok=True)
    (dev / f"video{number}").touch()


@checklist(69)
def test_discovered_cameras_are_taken_in_where_an_unlocked_watcher_wants_them(
    open_device: OpenDevice, metadata: Metadata, bus: Bus, files: Path, unique: str
) -> None:
    sysfs, dev = files / "sys", files / "dev"
    (files / "profiles/a.yaml").write_text(f"name: {unique}\ndeviceResources: []\n")
    wanted = f"discoveredDevice: {{profileName: {unique}, adminState: LOCKED}}\n"
    (files / "watchers/locked.yaml").write_text(
        f"name: {unique}-locked\nadminState: LOCKED\nidentifiers: {{Source: v4l2}}\n{wanted}"
    )
    (files / "watchers/open.yaml").write_text(
        f"name: {unique}-open\nidentifiers: {{Source: '^v4l2', SerialNumber: '^{unique[-8:]}'}}\n"
        f"blockingIdentifiers: {{SerialNumber: ['{unique[-8:]}C']}}\n{wanted}"
    )
    for number, name in enumerate("ABC"):
        plug_in(sysfs, dev, number, f"1-{number}", f"{unique[-8:]}{name}")
    plug_in(sysfs, dev, 3, "1-3", "somebody-else")
    found = [f"HD-Cam-HD-Cam-{unique[-8:]}{name}" for name in "AB"]
    places = {"DRIVER_SYSFS": str(sysfs), "DRIVER_DEV": str(dev), "DEVICE_DISCOVERY_ENABLED": "true"}
    try:
        with open_device(f"taken-{short()}", **places, **provisioning(files)) as one:
            topic = f"edgex/system-events/{one.service}/device/discovery/{one.service}"
            with bus.listen(topic) as ear:
                for _ in range(2):  # the second time they are known
                    assert requests.post(f"{one.url}/api/v3/discovery", timeout=WAIT).status_code == 202
                    ended = ear.next(lambda heard: heard.payload["details"]["progress"] == 100)
                    assert ended.payload["details"]["discoveredDeviceCount"] == 4
            devices = metadata.get(f"device/service/name/{one.service}")["devices"]
            assert sorted(device["name"] for device in devices) == found
            assert {(device["adminState"], device["profileName"]) for device in devices} == {("LOCKED", unique)}
            assert devices[0]["protocols"]["Camera"]["Source"].startswith(f"v4l2:{dev}/video")
    finally:
        for name in found:
            metadata.delete(f"device/name/{name}")
        for name in ("locked", "open"):
            metadata.delete(f"provisionwatcher/name/{unique}-{name}")
        metadata.delete(f"deviceprofile/name/{unique}")


@checklist(68)
def test_what_a_camera_service_does_not_do_is_said(device: Device) -> None:
    assert requests.post(f"{device.url}/api/v3/profilescan", json={}, timeout=WAIT).status_code == 501
    wrong = requests.get(f"{device.url}/api/v3/discovery", timeout=WAIT)
    assert (wrong.status_code, wrong.json()) == (405, {"message": "Method Not Allowed"})

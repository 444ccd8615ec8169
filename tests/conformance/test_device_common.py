"""What a device service shares with every EdgeX service: the checklist's points 1 to 5, 11 to 17, 22 and 24 to 25."""

import re
import time
import uuid
from urllib.parse import quote

import pytest
import requests

from tests.conformance.camera_profile import PROFILE
from tests.conformance.peers import WAIT, AddCamera, Bus, Core, Device, Metadata, OpenDevice, until

checklist = pytest.mark.checklist


def key(core: Core, path: str) -> str:
    return f"{core.keeper}/api/v3/kvs/key/edgex/v4/{path}"


def put(core: Core, path: str, value: str) -> None:
    assert requests.put(key(core, path), json={"value": value}, timeout=WAIT).status_code == 200


def value(core: Core, path: str) -> str | None:
    answer = requests.get(key(core, path), params={"plaintext": "true"}, timeout=WAIT)
    return answer.json()["response"][0]["value"] if answer.status_code == 200 else None


@checklist(1, 5)
def test_ping_says_who_and_when(device: Device) -> None:
    body = requests.get(f"{device.url}/api/v3/ping", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", device.service)
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}", body["timestamp"])


@checklist(2)
def test_version_says_which_and_of_which_sdk(device: Device) -> None:
    body = requests.get(f"{device.url}/api/v3/version", timeout=WAIT).json()
    assert body["serviceName"] == device.service
    assert body["version"]
    assert body["sdk_version"]


@checklist(3)
def test_config_holds_the_sections_as_edgex_spells_them(device: Device) -> None:
    body = requests.get(f"{device.url}/api/v3/config", timeout=WAIT).json()
    assert body["serviceName"] == device.service
    assert {"Writable", "Service", "Device", "MessageBus"} <= set(body["config"])
    assert {"ProfilesDir", "Discovery", "MaxCmdOps"} <= set(body["config"]["Device"])


@checklist(4)
def test_a_secret_is_stored_and_used_and_never_shown(
    device: Device, add_camera: AddCamera, core: Core, unique: str
) -> None:
    camera = add_camera(protocols={"Camera": {"Source": "pattern:", "SecretName": unique}})
    missing = device.get(camera, "Source")
    assert f"no secret named '{unique}'" in missing.json()["message"]
    body = {
        "apiVersion": "v3",
        "secretName": unique,
        "secretData": [{"key": "username", "value": "admin"}, {"key": "password", "value": "hunter2-secret"}],
    }
    answer = requests.post(f"{device.url}/api/v3/secret", json=body, timeout=WAIT)
    assert (answer.status_code, answer.json()["statusCode"]) == (201, 201)
    until(lambda: device.get(camera, "Source").status_code == 200, "the camera has its secret")
    assert "hunter2-secret" not in requests.get(f"{device.url}/api/v3/config", timeout=WAIT).text
    assert "hunter2-secret" not in device.log.read_text()
    for wrong in ({**body, "secretName": ""}, {**body, "secretData": []}):
        assert requests.post(f"{device.url}/api/v3/secret", json=wrong, timeout=WAIT).status_code == 400


@checklist(8, 9, 10)
def test_configuration_is_stored_once_and_then_core_keepers_word_counts(open_device: OpenDevice, core: Core) -> None:
    name = f"stored-{uuid.uuid4().hex[:6]}"
    with open_device(name, WRITABLE_CAMERA_QUALITY="71") as first:
        quality, size = f"{first.service}/Writable/Camera/Quality", f"{first.service}/MaxEventSize"
        assert (value(core, quality), value(core, size)) == ("71", "0")
        put(core, size, "9")
    with open_device(name, WRITABLE_CAMERA_QUALITY="33", MAXEVENTSIZE="44") as second:
        assert (value(core, quality), value(core, size)) == ("71", "9")
        config = requests.get(f"{second.url}/api/v3/config", timeout=WAIT).json()["config"]
        assert int(config["MaxEventSize"]) == 9
    with open_device(name, "-o", WRITABLE_CAMERA_QUALITY="33"):
        assert (value(core, quality), value(core, size)) == ("33", "0")


@checklist(11, 12)
def test_it_is_up_in_the_registry(device: Device, core: Core) -> None:
    url = f"{core.keeper}/api/v3/registry/serviceId/{device.service}"
    until(lambda: requests.get(url, timeout=WAIT).json()["registration"]["status"] == "UP", "it is UP", 15)
    entry = requests.get(url, timeout=WAIT).json()["registration"]
    assert f"http://{entry['host']}:{entry['port']}" == device.url
    assert entry["HealthCheck"]["path"] == "/api/v3/ping"


@checklist(14, 16)
def test_the_log_level_follows_core_keeper(device: Device, core: Core, bus: Bus) -> None:
    def level() -> str:
        config = requests.get(f"{device.url}/api/v3/config", timeout=WAIT).json()["config"]
        return str(config["Writable"]["LogLevel"])

    put(core, f"{device.service}/Writable/LogLevel", "DEBUG")
    until(lambda: level() == "DEBUG", "the level is DEBUG")
    change = f"edgex/v4/{device.service}/Writable/LogLevel"
    stale = {"key": change, "Created": 0, "Modified": 0, "value": "ERROR"}
    bus.publish(f"edgex/configs/{change}", {"apiVersion": "v3", "contentType": "application/json", "payload": stale})
    put(core, f"{device.service}/Writable/LogLevel", "INFO")
    until(lambda: level() == "INFO", "the level is INFO again")


@checklist(14)
def test_defaults_of_cameras_follow_core_keeper(device: Device, camera: str, core: Core) -> None:
    assert device.value(camera, "Rate") == "5e+00"
    put(core, f"{device.service}/Writable/Camera/Fps", "8")
    until(lambda: device.value(camera, "Rate") == "8e+00", "the new default counts")
    put(core, f"{device.service}/Writable/Camera/Fps", "nonsense")
    time.sleep(0.5)
    assert device.value(camera, "Rate") == "8e+00", "what cannot be read changes nothing"
    put(core, f"{device.service}/Writable/Camera/Fps", "5")
    until(lambda: device.value(camera, "Rate") == "5e+00", "the old default is back")


@checklist(22)
def test_names_in_urls_are_decoded(device: Device, metadata: Metadata, unique: str) -> None:
    name = f"{unique} 100% ü&"
    added = metadata.add("deviceProfile", {**PROFILE, "name": name}, key="profile")
    assert added["statusCode"] == 201, added
    item = {
        "name": name,
        "serviceName": device.service,
        "profileName": name,
        "adminState": "UNLOCKED",
        "operatingState": "UP",
        "protocols": {"Camera": {"Source": "pattern:"}},
    }
    assert metadata.add("device", item)["statusCode"] == 201
    try:
        until(lambda: device.get(name, "Rate").status_code == 200, "it answers")
        assert device.event(name, "Rate")["deviceName"] == name
    finally:
        metadata.delete(f"device/name/{quote(name, safe='')}")
        metadata.delete(f"deviceprofile/name/{quote(name, safe='')}")


@checklist(24)
def test_what_takes_too_long_ends_with_503_or_its_own_error(open_device: OpenDevice, add_camera: AddCamera) -> None:
    with open_device(f"slow-{uuid.uuid4().hex[:6]}", "-i=gate") as one:
        assert one.service.endswith("_gate")
        camera = add_camera(to=one, protocols={"Camera": {"Source": "rtsp://10.255.255.1/x", "AutoStreaming": False}})
        begin = time.monotonic()
        assert one.get(camera, "Frame").status_code in (500, 503)
        assert time.monotonic() - begin < 7


@checklist(25)
def test_a_body_over_the_limit_is_refused(open_device: OpenDevice, core: Core) -> None:
    name = f"limits-{uuid.uuid4().hex[:6]}"
    put(core, f"device-{name}/Service/MaxRequestSize", "1")
    with open_device(name) as one:
        answer = one.put("nobody", "Rate", "x" * 2000)
        assert answer.status_code == 413
        assert "Service.MaxRequestSize(1 KB)" in answer.json()["message"]

"""What core-metadata keeps, read from its own answers."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceResource, ProvisionWatcher, ResourceProperties
from edgex_kit.wire.errors import Malformed

RECORDED: dict[str, Any] = {
    it["name"]: it for it in json.loads((Path(__file__).parents[2] / "wire" / "http.json").read_text())
}


def answer(name: str) -> Any:
    return json.loads(RECORDED[name]["response"]["body"])


def sent(name: str) -> Any:
    return RECORDED[name]["request"]["json"]


def test_a_recorded_device_is_read_and_written_again() -> None:
    recorded = answer("metadata device get")["device"]
    device = convert(recorded, Device)
    again = msgspec.to_builtins(device)
    assert device.name == "wire-cam"
    dropped = {"created", "modified"}  # core-metadata's own business
    assert {key: recorded[key] for key in again} == json.loads(msgspec.json.encode(device))
    assert set(recorded) - set(again) == dropped


def test_a_recorded_profile_is_read_and_finds_its_resources_and_commands() -> None:
    recorded = answer("metadata profile get")["profile"]
    profile = convert(recorded, DeviceProfile)
    for resource in recorded["deviceResources"]:
        found = profile.resource(resource["name"])
        assert found is not None
        assert found.properties.value_type == resource["properties"]["valueType"]
    for command in recorded.get("deviceCommands") or ():
        assert profile.command(command["name"]) is not None
    assert profile.resource("Nope") is None
    assert profile.command("Nope") is None


def test_a_profile_that_was_sent_is_written_with_the_same_keys() -> None:
    [request] = sent("metadata profile add")
    profile = convert(request["profile"], DeviceProfile)
    again = json.loads(msgspec.json.encode(profile))
    assert {key: request["profile"][key] for key in again} == again


def test_a_recorded_watcher_is_read() -> None:
    [recorded] = answer("metadata watcher by service")["provisionWatchers"]
    watcher = convert(recorded, ProvisionWatcher)
    assert watcher.identifiers == recorded["identifiers"]
    assert watcher.discovered_device.profile_name == recorded["discoveredDevice"]["profileName"]


@pytest.mark.parametrize(
    ("read_write", "readable", "writable"),
    [("R", True, False), ("W", False, True), ("RW", True, True), ("WR", True, True)],
)
def test_read_and_write_are_told_from_the_profile(read_write: str, *, readable: bool, writable: bool) -> None:
    resource = DeviceResource(name="r", properties=ResourceProperties(value_type="Bool", read_write=read_write))
    assert (resource.is_readable, resource.is_writable) == (readable, writable)


@pytest.mark.parametrize("field", ["name", "adminState", "serviceName", "protocols"])
def test_a_device_without_a_required_field_is_malformed(field: str) -> None:
    fields = dict(answer("metadata device get")["device"])
    del fields[field]
    with pytest.raises(Malformed, match=field):
        convert(fields, Device)


def test_states_are_upper_case_as_core_metadata_wants_them() -> None:
    fields = dict(answer("metadata device get")["device"])
    with pytest.raises(Malformed, match="adminState"):
        convert({**fields, "adminState": "unlocked"}, Device)
    assert convert({**fields, "adminState": "LOCKED"}, Device).is_locked
    assert not convert({**fields, "adminState": "UNLOCKED"}, Device).is_locked

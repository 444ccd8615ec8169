"""Profiles, devices and watchers out of files."""

from pathlib import Path
from typing import Any

import device_camera
import pytest
from device_camera.config import CameraDefaults
from device_camera.folders import read_folder
from device_camera.protocols import check_device
from device_camera.provisioning import devices_from, profiles_from, watchers_from
from device_camera.resources import GETTERS, SETTERS
from edgex_kit.wire.errors import Invalid

SHIPPED = Path(device_camera.__file__).parent / "res"
ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> list[tuple[str, Any]]:
    return list(read_folder(str(folder), SHIPPED, 1.0))


def test_the_shipped_profile_is_the_one_at_the_root() -> None:
    assert (SHIPPED / "profiles/camera.yaml").read_bytes() == (ROOT / "profiles/camera.yaml").read_bytes()


def test_the_shipped_profile_names_only_functions_there_are() -> None:
    (profile,) = profiles_from(contents(SHIPPED / "profiles"))
    assert profile.name == "vision-camera"
    for resource in profile.device_resources or ():
        attributes = resource.attributes or {}
        assert ("getFunction" in attributes) == resource.is_readable, resource.name
        assert ("setFunction" in attributes) == resource.is_writable, resource.name
        assert attributes.get("getFunction", "Frame") in GETTERS
        assert attributes.get("setFunction", "StopStreaming") in SETTERS
    for command in profile.device_commands or ():
        assert all(profile.resource(one.device_resource) for one in command.resource_operations)


def test_the_shipped_watcher_and_examples_can_be_read(tmp_path: Path) -> None:
    (watcher,) = watchers_from(contents(SHIPPED / "provisionwatchers"), "device-camera")
    assert watcher.service_name == "device-camera"
    example = SHIPPED / "devices/cameras.yaml.example"
    (tmp_path / "cameras.yaml").write_text(example.read_text("utf-8"))
    for device in devices_from(contents(tmp_path), "device-camera"):
        check_device(device, CameraDefaults())
    assert list(devices_from(contents(SHIPPED / "devices"), "device-camera")) == [], "examples are no devices"


def test_devices_become_ours_unlocked_and_up(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "deviceList: [{name: a, serviceName: x, adminState: LOCKED, operatingState: DOWN, protocols: {}}]"
    )
    (tmp_path / "b.json").write_text('[{"name": "b", "autoEvents": [{"interval": "1s", "sourceName": "x"}]}]')
    first, second = devices_from(contents(tmp_path), "ours")
    assert (first.service_name, first.admin_state, first.operating_state) == ("ours", "UNLOCKED", "UP")
    assert (second.name, second.protocols) == ("b", {})
    assert second.auto_events is not None
    assert second.auto_events[0].source_name == "x"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.yaml", "deviceList: [{}]", "Object missing required field `name`"),
        ("a.yaml", "devices: []", "a deviceList expected"),
        ("a.yaml", "deviceList: [7]", "a device expected, got 7"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=why) as caught:
        list(devices_from(contents(tmp_path), "s"))
    assert str(tmp_path / name) in str(caught.value)

"""What we know from core-metadata, and which changes listeners hear of."""

from typing import Any

import pytest
from edgex_kit.device.cache import Devices
from edgex_kit.wire.devices import Device, DeviceProfile, DiscoveredDevice, ProvisionWatcher
from edgex_kit.wire.errors import Locked, NotFound


def device(name: str = "cam", **fields: Any) -> Device:
    defaults: dict[str, Any] = {
        "admin_state": "UNLOCKED",
        "operating_state": "UP",
        "service_name": "s",
        "profile_name": "p",
        "protocols": {},
    }
    return Device(name=name, **{**defaults, **fields})


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def devices(heard: list[str]) -> Devices:
    found = Devices("s")
    found.put_profile(DeviceProfile(name="p"))
    found.on_change(heard.append)
    return found


def test_listeners_hear_of_real_changes_only(devices: Devices, heard: list[str]) -> None:
    devices.put(device())
    devices.put(device())
    devices.put(device(description="new"))
    devices.put_profile(DeviceProfile(name="p"))
    devices.put_profile(DeviceProfile(name="p", model="new"))
    devices.put_profile(DeviceProfile(name="other"))
    devices.remove("cam")
    devices.remove("cam")
    assert heard == ["cam"] * 4


def test_a_locked_service_locks_every_device(devices: Devices, heard: list[str]) -> None:
    devices.put(device("a"))
    devices.put(device("b", admin_state="LOCKED"))
    heard.clear()
    devices.put_service("LOCKED", ["x"])
    assert sorted(heard) == ["a", "b"]
    assert devices.labels == ("x",)
    assert not devices.is_active("a")
    with pytest.raises(Locked, match="service locked"):
        devices.check_unlocked("nobody")
    devices.put_service("UNLOCKED", [])
    assert devices.is_active("a")
    assert not devices.is_active("b")


def test_commands_are_refused_in_the_order_of_device_sdk_go(devices: Devices) -> None:
    with pytest.raises(NotFound, match="device nobody not found"):
        devices.check_unlocked("nobody")
    devices.put(device(admin_state="LOCKED"))
    with pytest.raises(Locked, match="device cam locked"):
        devices.check_unlocked("cam")


@pytest.mark.parametrize("profile", ["", "unknown"])
def test_a_device_without_a_profile_is_as_good_as_locked(devices: Devices, profile: str) -> None:
    with pytest.raises(Locked, match="no associated device profile"):
        devices.profile_of(device(profile_name=profile))


def test_a_deleted_profile_stays_while_a_device_has_it(devices: Devices) -> None:
    devices.put(device())
    devices.remove_profile("p")
    assert devices.find_profile("p")
    devices.remove("cam")
    devices.remove_profile("p")
    assert devices.find_profile("p") is None


def test_what_was_deleted_meanwhile_is_forgotten(devices: Devices, heard: list[str]) -> None:
    for name in ("a", "b", "c"):
        devices.put(device(name))
    heard.clear()
    devices.keep_only(["b"])
    assert sorted(heard) == ["a", "c"]
    assert [one.name for one in devices.all()] == ["b"]
    for name in ("v", "w"):
        devices.put_watcher(
            ProvisionWatcher(
                name=name,
                service_name="s",
                identifiers={"a": "b"},
                admin_state="UNLOCKED",
                discovered_device=DiscoveredDevice(admin_state="UNLOCKED"),
            )
        )
    devices.keep_only_watchers(["w"])
    assert [one.name for one in devices.watchers] == ["w"]
    devices.remove_watcher("w")
    assert devices.watchers == ()

"""Which discovered camera a provision watcher lets in."""

from typing import Any

import pytest
from device_camera.watching import watcher_for
from edgex_kit.wire.devices import DiscoveredDevice, ProvisionWatcher

CAMERA: dict[str, dict[str, Any]] = {"Camera": {"Source": "v4l2:/dev/video0", "CardName": "C270", "Number": 7}}


def watcher(name: str = "w", **fields: Any) -> ProvisionWatcher:
    defaults: dict[str, Any] = {
        "identifiers": {"Source": "v4l2"},
        "admin_state": "UNLOCKED",
        "discovered_device": DiscoveredDevice(admin_state="UNLOCKED"),
    }
    return ProvisionWatcher(name=name, service_name="s", **{**defaults, **fields})


@pytest.mark.parametrize(
    ("fields", "is_wanted"),
    [
        ({}, True),
        ({"identifiers": {"Source": "video[0-3]$", "CardName": "^C"}}, True),
        ({"identifiers": {"Source": "v4l2", "CardName": "D"}}, False),
        ({"identifiers": {"Number": "^7$"}}, True),
        ({"identifiers": {"Absent": ".*"}}, False),
        ({"identifiers": {"Source": "("}}, False),
        ({"admin_state": "LOCKED"}, False),
        ({"blocking_identifiers": {"CardName": ("C920", "C270")}}, False),
        ({"blocking_identifiers": {"CardName": ("C2",)}}, True),
        ({"blocking_identifiers": {"Number": ("7",)}}, False),
    ],
)
def test_a_watcher_wants_a_camera_or_not(fields: dict[str, Any], *, is_wanted: bool) -> None:
    assert (watcher_for(CAMERA, [watcher(**fields)]) is not None) is is_wanted


def test_identifiers_must_be_found_within_one_protocol() -> None:
    split = {"A": {"Source": "v4l2"}, "B": {"CardName": "C270"}}
    assert watcher_for(split, [watcher(identifiers={"Source": "v4l2", "CardName": "C270"})]) is None


def test_the_first_watcher_that_wants_it_has_it() -> None:
    first, second = watcher("first", admin_state="LOCKED"), watcher("second")
    assert watcher_for(CAMERA, [first, second]) is second

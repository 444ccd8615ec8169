"""From the body of a SET to values for the camera."""

from typing import Any

import pytest
from edgex_kit.device.command_lookup import Operation, Selection
from edgex_kit.device.command_values import writes_from_body
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import DeviceResource
from edgex_kit.wire.errors import DriverFailed, Invalid


def selection(default: str = "", mappings: dict[str, str] | None = None, **properties: Any) -> Selection:
    described = {"name": "R", "properties": {"valueType": "Int32", "readWrite": "RW", **properties}}
    return Selection("R", (Operation(convert(described, DeviceResource), default, mappings),))


def written(given: Any, which: Selection, *, transform: bool = True) -> Any:
    (write,) = writes_from_body(which, given, transform=transform)
    return write.value


@pytest.mark.parametrize("given", [7, "7", 7.0])
def test_values_may_be_text_or_natural(given: Any) -> None:
    assert written({"R": given, "unknown": 1}, selection()) == 7


def test_the_commands_default_comes_before_the_resources() -> None:
    assert written({}, selection(default="1", defaultValue="2")) == 1
    assert written({}, selection(defaultValue="2")) == 2
    assert written({"R": 3}, selection(default="1", defaultValue="2")) == 3


def test_a_missing_value_without_a_default_is_the_drivers_failure() -> None:
    with pytest.raises(DriverFailed, match="R not found in request body and no default value defined"):
        written({}, selection())


def test_mappings_are_read_backwards() -> None:
    assert written({"R": "on"}, selection(mappings={"1": "on", "0": "off"})) == 1


@pytest.mark.parametrize("given", [11, -1, "x", "", 1.5, [1], {"a": 1}, True])
def test_a_value_that_does_not_fit_is_invalid_and_names_the_resource(given: Any) -> None:
    with pytest.raises(Invalid, match="DeviceResource R: "):
        written({"R": given}, selection(minimum=0, maximum=10))


def test_scale_and_offset_are_taken_back_only_where_data_is_transformed() -> None:
    scaled = selection(scale=2.0, offset=1.0)
    assert written({"R": 7}, scaled) == 3
    assert written({"R": 7}, scaled, transform=False) == 7


def test_null_is_handed_on() -> None:
    assert written({"R": None}, selection(minimum=0)) is None

"""Whether an event says something new."""

from typing import Any

from edgex_kit.device.event_changes import Changes
from edgex_kit.wire.messages import Event, Reading


def event(**values: Any) -> Event:
    readings = tuple(_reading(name, value) for name, value in values.items())
    return Event(
        api_version="v3", id="1", device_name="d", profile_name="p", source_name="s", origin=1, readings=readings
    )


def _reading(name: str, value: Any) -> Reading:
    if isinstance(value, bytes):
        fields: dict[str, Any] = {"value_type": "Binary", "binary_value": value}
    elif isinstance(value, dict):
        fields = {"value_type": "Object", "object_value": value}
    elif isinstance(value, float) or value is None:
        fields = {"value_type": "Float64", "value": None if value is None else f"{value:e}"}
    else:
        fields = {"value_type": "String", "value": value}
    return Reading(origin=1, device_name="d", resource_name=name, profile_name="p", **fields)


def test_the_first_event_is_always_new() -> None:
    assert Changes(5.0).has(event(a=1.0))


def test_a_number_is_new_beyond_the_threshold_of_what_was_sent_last() -> None:
    changes = Changes(1.0)
    assert [changes.has(event(a=value)) for value in (1.0, 1.9, 2.0, 2.1, 3.0)] == [True, False, False, True, False]


def test_a_threshold_of_nothing_lets_every_change_through() -> None:
    changes = Changes(0.0)
    assert [changes.has(event(a=value)) for value in (1.0, 1.0, 1.0001)] == [True, False, True]


def test_one_changed_reading_of_many_is_enough() -> None:
    changes = Changes(0.0)
    changes.has(event(a="x", b="y"))
    assert not changes.has(event(a="x", b="y"))
    assert changes.has(event(a="x", b="z"))


def test_pictures_and_objects_are_compared_by_content() -> None:
    changes = Changes(0.0)
    assert changes.has(event(a=b"jpeg", b={"x": 1}))
    assert not changes.has(event(a=bytes(bytearray(b"jpeg")), b={"x": 1}))
    assert changes.has(event(a=b"jpeh", b={"x": 1}))
    assert changes.has(event(a=b"jpeh", b={"x": 2}))


def test_other_resources_are_something_new() -> None:
    changes = Changes(0.0)
    changes.has(event(a="x"))
    assert changes.has(event(b="x"))


def test_a_null_reading_differs_from_a_value() -> None:
    changes = Changes(10.0)
    changes.has(event(a=1.0))
    assert changes.has(event(a=None))
    assert not changes.has(event(a=None))

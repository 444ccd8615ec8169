"""Values as readings, readings as events."""

import math
from typing import Any

import cbor2
import msgspec
import pytest
from edgex_kit.wire.codec import encode_body
from edgex_kit.wire.devices import DeviceResource, ResourceProperties
from edgex_kit.wire.errors import AssertionBroken, DriverFailed
from edgex_kit.wire.messages import CBOR, EventResponse, Reading
from edgex_kit.wire.readings import MAX_BINARY_BYTES, event_from_readings, reading_from


def resource(value_type: str, tags: dict[str, Any] | None = None, **fields: Any) -> DeviceResource:
    properties = ResourceProperties(value_type=value_type, read_write="R", **fields)
    return DeviceResource(name="temp", properties=properties, tags=tags)


def read(value: Any, kind: DeviceResource, **options: Any) -> Reading:
    options = {"with_units": True, **options}
    return reading_from(value, kind, "cam-1", "cam-p", 1795332391463325606, **options)


def written(reading: Reading) -> dict[str, Any]:
    """What goes out, without the id that differs each time."""
    fields: dict[str, Any] = msgspec.to_builtins(reading, builtin_types=(bytes,))
    assert len(fields.pop("id")) == 36
    return fields


NAMED = {
    "origin": 1795332391463325606,
    "deviceName": "cam-1",
    "resourceName": "temp",
    "profileName": "cam-p",
}


def test_a_number_is_written_with_units_and_tags() -> None:
    reading = read(21.5, resource("float32", {"at": "lens"}, units="degC"))
    assert written(reading) == NAMED | {
        "valueType": "Float32",
        "units": "degC",
        "tags": {"at": "lens"},
        "value": "2.15e+01",
    }


def test_units_stay_away_when_they_are_not_wanted() -> None:
    assert "units" not in written(read(21.5, resource("Float32", units="degC"), with_units=False))


def test_keys_have_the_order_of_the_go_services() -> None:
    reading = read(b"\xff\xd8", resource("Binary", {"a": 1}, units="u", media_type="image/jpeg"))
    order = ["origin", "deviceName", "resourceName", "profileName", "valueType", "units", "tags"]
    assert list(written(reading)) == [*order, "binaryValue", "mediaType"]


def test_a_binary_reading_keeps_its_bytes_and_names_its_media_type() -> None:
    jpeg = b"\xff\xd8\xff\xe0"
    reading = read(jpeg, resource("Binary", media_type="image/jpeg"))
    assert reading.binary_value is jpeg
    assert reading.media_type == "image/jpeg"


def test_a_view_of_bytes_goes_out_as_bytes() -> None:
    reading = read(memoryview(b"xx\xff\xd8")[2:], resource("Binary", media_type="image/jpeg"))
    event = event_from_readings([reading], device_name="cam-1", profile_name="p", source_name="s", origin=1)
    kind, body = encode_body(EventResponse(api_version="v3", status_code=200, event=event))
    assert kind == CBOR
    assert cbor2.loads(body)["event"]["readings"][0]["binaryValue"] == b"\xff\xd8"


def test_an_object_travels_as_it_is() -> None:
    assert written(read({"a": [1]}, resource("Object")))["objectValue"] == {"a": [1]}
    assert written(read([{"a": 1}], resource("ObjectArray")))["objectValue"] == [{"a": 1}]


@pytest.mark.parametrize("kind", ["Uint8", "Binary", "Object"])
def test_nothing_to_say_is_a_null_reading_with_all_three_values_null(kind: str) -> None:
    fields = written(read(None, resource(kind, media_type="image/jpeg")))
    assert [fields[key] for key in ("value", "binaryValue", "objectValue")] == [None, None, None]
    assert fields["valueType"] == kind


@pytest.mark.parametrize("value", [math.inf, -math.inf])
@pytest.mark.parametrize("transform", [True, False])
def test_infinity_is_the_string_overflow(value: float, *, transform: bool) -> None:
    reading = read(value, resource("Float64"), transform=transform)
    assert (reading.value_type, reading.value) == ("String", "overflow")


def test_what_does_not_fit_its_type_is_the_string_overflow() -> None:
    reading = read(200, resource("Uint8", scale=2))
    assert (reading.value_type, reading.value) == ("String", "overflow")


def test_what_is_no_number_is_the_string_nan() -> None:
    reading = read(math.nan, resource("Float32", scale=2))
    assert (reading.value_type, reading.value) == ("String", "NaN")


def test_a_mapped_value_is_a_string() -> None:
    reading = read(1, resource("Uint8"), mappings={"1": "day"})
    assert (reading.value_type, reading.value) == ("String", "day")
    reading = read(2, resource("Uint8"), mappings={"1": "day"})
    assert (reading.value_type, reading.value) == ("Uint8", "2")


def test_a_broken_assertion_names_the_value() -> None:
    assert read(1, resource("Uint8", assertion="1")).value == "1"
    with pytest.raises(AssertionBroken, match="Assertion failed for DeviceResource temp, with value 2"):
        read(2, resource("Uint8", assertion="1"))


@pytest.mark.parametrize(
    ("value", "kind", "cause"),
    [
        (300, resource("Uint8"), "out of the range"),
        ("abc", resource("Float32"), "no Float32"),
        ("abc", resource("Binary", media_type="image/jpeg"), "no Binary"),
        (b"", resource("Binary", media_type="image/jpeg"), "length 0"),
        (b"x", resource("Binary"), "needs a mediaType"),
        (bytes(MAX_BINARY_BYTES + 1), resource("Binary", media_type="image/jpeg"), "more than a Binary reading may"),
        ([], resource("Object"), "a list is no Object"),
        ({}, resource("ObjectArray"), "a dict is no ObjectArray"),
        ([], resource("Uint8Array"), "empty"),
        (1, resource("Uint9"), "no value type"),
    ],
)
def test_a_value_of_the_wrong_kind_is_the_drivers_failure(value: Any, kind: DeviceResource, cause: str) -> None:
    with pytest.raises(DriverFailed, match=f"resource 'temp' of device 'cam-1'.*{cause}"):
        read(value, kind)


def test_an_event_has_its_own_id_and_all_names() -> None:
    reading = read(1, resource("Uint8"))
    names = {"device_name": "cam-1", "profile_name": "cam-p", "source_name": "temp", "origin": 5}
    one, two = (event_from_readings([reading], **names) for _ in range(2))
    assert one.id != two.id
    assert (one.api_version, one.device_name, one.profile_name, one.source_name) == ("v3", "cam-1", "cam-p", "temp")
    assert one.origin == 5
    assert one.readings == (reading,)
    assert "tags" not in msgspec.to_builtins(one)


def test_of_equal_tags_the_devices_win_over_the_commands_and_the_events_own_over_both() -> None:
    event = event_from_readings(
        [read(1, resource("Uint8"))],
        device_name="d",
        profile_name="p",
        source_name="s",
        origin=1,
        command_tags={"a": "command", "b": "command", "c": "command"},
        device_tags={"b": "device", "c": "device"},
        tags={"c": "own"},
    )
    assert event.tags == {"a": "command", "b": "device", "c": "own"}


def test_an_event_without_readings_is_refused_because_core_data_drops_it() -> None:
    with pytest.raises(DriverFailed, match="no reading"):
        event_from_readings([], device_name="d", profile_name="p", source_name="s", origin=1)

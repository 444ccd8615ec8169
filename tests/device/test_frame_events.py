"""A frame as an EdgeX event."""

import dataclasses

from device_camera.frame import Frame
from device_camera.frame_events import event_from_frame, frame_resource, frame_tags
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile

JPEG = b"\xff\xd8 a picture \xff\xd9"
FRAME = Frame(JPEG, 640, 480, 41, "frame-1", 1_795_332_391_463_325_606, 7)
DEVICE = Device(
    name="cam",
    admin_state="UNLOCKED",
    operating_state="UP",
    service_name="s",
    profile_name="p",
    protocols={},
    tags={"site": "lab", "seq": "of the device"},
)


def profile(function: str) -> DeviceProfile:
    properties = {"valueType": "Binary", "readWrite": "R", "mediaType": "image/jpeg"}
    resource = {"name": "Stream", "attributes": {"getFunction": function}, "properties": properties}
    return convert({"name": "p", "deviceResources": [resource]}, DeviceProfile)


def test_the_stream_is_the_resource_that_says_so_whatever_its_name() -> None:
    found = frame_resource(profile("Frame"))
    assert found is not None
    assert found.name == "Stream"
    assert frame_resource(profile("Snapshot")) is None


def test_a_frame_carries_what_follows_it_through_every_service() -> None:
    resource = frame_resource(profile("Frame"))
    assert resource is not None
    event = event_from_frame(FRAME, DEVICE, resource)
    assert (event.device_name, event.profile_name, event.source_name) == ("cam", "p", "Stream")
    assert event.tags == {
        "site": "lab",
        "frameId": "frame-1",
        "seq": 41,
        "captureOrigin": "1795332391463325606",
        "width": 640,
        "height": 480,
    }
    (reading,) = event.readings
    assert reading.binary_value is JPEG, "the picture is not copied"
    assert (reading.origin, reading.media_type) == (1_795_332_391_463_325_606, "image/jpeg")
    assert event_from_frame(FRAME, DEVICE, resource).origin > event.origin


def test_a_frame_says_of_a_camera_that_follows_how_large_it_could_be() -> None:
    assert "fullSize" not in frame_tags(FRAME)
    assert frame_tags(dataclasses.replace(FRAME, full_size=(1280, 720)))["fullSize"] == "1280x720"

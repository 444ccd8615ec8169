"""A frame as an EdgeX event; pure. Its tags follow the frame through every service."""

from typing import Any

from edgex_kit.service.clock import new_origin
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceResource
from edgex_kit.wire.messages import Event
from edgex_kit.wire.readings import event_from_readings, reading_from

from device_camera.frame import Frame

FRAME = "Frame"  # the getFunction of the resource whose readings are the stream


def frame_resource(profile: DeviceProfile) -> DeviceResource | None:
    """The resource that the stream's events are named after; None for a profile without a stream."""
    for resource in profile.device_resources or ():
        if (resource.attributes or {}).get("getFunction") == FRAME:
            return resource
    return None


def frame_tags(frame: Frame) -> dict[str, Any]:
    """`captureOrigin` (ns) is text because Go reads JSON numbers as float64 and would round it.

    `fullSize` says that the camera's size follows who looks at it: see the resource PictureNeeds.
    """
    tags = {
        "frameId": frame.frame_id,
        "seq": frame.seq,
        "captureOrigin": str(frame.captured_ns),
        "width": frame.width,
        "height": frame.height,
    }
    if frame.full_size:
        tags["fullSize"] = "{}x{}".format(*frame.full_size)
    return tags


def event_from_frame(frame: Frame, device: Device, resource: DeviceResource) -> Event:
    """The event of one frame; the reading's origin is the capture, the event's is now."""
    reading = reading_from(
        frame.jpeg, resource, device.name, device.profile_name, frame.captured_ns, with_units=False, transform=False
    )
    return event_from_readings(
        [reading],
        device_name=device.name,
        profile_name=device.profile_name,
        source_name=resource.name,
        origin=new_origin(),
        device_tags=device.tags,
        tags=frame_tags(frame),
    )

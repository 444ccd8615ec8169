"""A frame event as it arrives: whose picture it is, and the picture. Pure."""

from dataclasses import dataclass

from edgex_kit.errors import Malformed
from edgex_kit.messages import Event, Reading


@dataclass(frozen=True, slots=True)
class ArrivedFrame:
    """One encoded picture of one camera."""

    camera: str
    frame_id: str
    seq: int  # counts what the camera captured, so gaps are visible
    capture_ns: int  # UNIX time
    data: bytes  # JPEG, or another picture of the given media type
    media_type: str


def frame_from_event(event: Event) -> ArrivedFrame:
    """The first picture of an event. Raises Malformed when there is none.

    Frames of device-camera carry their identity in tags; for a picture of any other service the event's own id and
    origin have to do.
    """
    reading = next((it for it in event.readings if is_picture(it)), None)
    if reading is None:
        raise Malformed(f"event '{event.source_name}' of device '{event.device_name}' holds no picture")
    tags = event.tags or {}
    return ArrivedFrame(
        camera=event.device_name,
        frame_id=str(tags.get("frameId") or event.id),
        seq=_whole(tags.get("seq"), 0),
        capture_ns=_whole(tags.get("captureOrigin"), int(event.origin)),
        data=reading.binary_value if isinstance(reading.binary_value, bytes) else b"",
        media_type=reading.media_type,
    )


def is_picture(reading: Reading) -> bool:
    """Whether a reading holds an image."""
    return isinstance(reading.binary_value, bytes) and reading.media_type.startswith("image/")


def _whole(value: object, default: int) -> int:
    try:
        return int(value) if isinstance(value, int | float | str) else default
    except ValueError:
        return default

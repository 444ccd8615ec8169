"""A frame event as it arrives: the picture, and which camera took it when. Pure."""

import re
from dataclasses import dataclass

from edgex_kit.wire.errors import Malformed
from edgex_kit.wire.messages import Event

from app_inference.errors import NoPicture
from app_inference.vision.image import Size

MEDIA_TYPES = ("image/jpeg", "image/jpg", "image/png")
MAX_ID = 128  # characters
MAX_INT64 = 2**63 - 1
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded picture of one camera."""

    camera: str
    frame_id: str
    seq: int  # counts what the camera captured, so that gaps are visible
    capture_ns: int  # UNIX time
    data: bytes
    media_type: str  # one of MEDIA_TYPES
    full_size: Size | None = None  # of a camera that makes its pictures smaller on request
    received_ns: int = 0  # UNIX time
    published: int = 0  # counts what the camera published, from 1; 0: not said


def frame_from_event(event: Event, received_ns: int = 0) -> Frame:
    """The first picture of an event. Raises NoPicture when there is none, Malformed for a kind we cannot read.

    Frames of device-camera carry their identity in tags; for a picture of any other service the event's own id and
    origin are used.
    """
    for reading in event.readings:
        media_type = reading.media_type.lower()
        if isinstance(reading.binary_value, bytes) and media_type.startswith("image/"):
            break
    else:
        raise NoPicture(f"event '{event.source_name}' of device '{event.device_name}' holds no picture")
    if media_type not in MEDIA_TYPES:
        what = f"event '{event.source_name}' of device '{event.device_name}' holds a picture of type '{media_type}'"
        raise Malformed(f"{what}, expected one of {', '.join(MEDIA_TYPES)}")
    tags = event.tags or {}
    frame_id = tags.get("frameId")
    return Frame(
        camera=event.device_name,
        frame_id=frame_id if isinstance(frame_id, str) and 0 < len(frame_id) <= MAX_ID else event.id,
        seq=_whole(tags.get("seq"), 0),
        capture_ns=_whole(tags.get("captureOrigin"), _whole(event.origin, 0)),
        data=reading.binary_value,
        media_type=media_type,
        full_size=_size(tags.get("fullSize")),
        received_ns=received_ns,
        published=_whole(tags.get("published"), 0),
    )


def _size(value: object) -> Size | None:
    """Of text such as 1280x720; tags may hold anything."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return (int(found[1]), int(found[2])) if found else None


def _whole(value: object, default: int) -> int:
    """A number that an int64 holds, however it was written; tags may hold anything."""
    try:
        number = int(value) if isinstance(value, int | float | str) else default
    except (ValueError, OverflowError):  # no number; not a finite one
        return default
    return number if 0 <= number <= MAX_INT64 else default

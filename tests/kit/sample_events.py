"""Small events of the codec's tests, in our types."""

import json
from typing import Any

from edgex_kit.wire.messages import JSON, AddEventRequest, Event, Reading


def an_event(*readings: Reading, tags: dict[str, Any] | None = None) -> AddEventRequest:
    event = Event(
        api_version="v3",
        id="8f1f2c3a-0000-4000-8000-000000000001",
        device_name="cam-1",
        profile_name="cam-p",
        source_name="status",
        origin=1795332391463325606,
        readings=readings or (a_reading(value="2.15e+01"),),
        tags=tags,
    )
    return AddEventRequest(request_id="3f5e2c3a-0000-4000-8000-000000000002", event=event)


def a_reading(value_type: str = "Float32", **fields: Any) -> Reading:
    return Reading(
        origin=1795332391463325606,
        device_name="cam-1",
        resource_name="temp",
        profile_name="cam-p",
        value_type=value_type,
        **fields,
    )


def a_frame(size: int = 3) -> AddEventRequest:
    return an_event(a_reading("Binary", binary_value=b"\xff\xd8\xff" * (size // 3), media_type="image/jpeg"))


def envelope_with(payload: Any, content_type: str = JSON, **others: Any) -> bytes:
    return json.dumps({"apiVersion": "v3", "payload": payload, "contentType": content_type, **others}).encode()

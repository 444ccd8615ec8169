"""What a camera says of itself as Object readings; keys as in device-usb-camera where the meaning is the same."""

from typing import Any

from device_camera.capture import Camera
from device_camera.frames import Size
from device_camera.health import State


def streaming_status(camera: Camera) -> dict[str, Any]:
    """Whether frames come, how many and why not."""
    status, counters, settings, facts = camera.status, camera.counters, camera.settings, camera.facts
    return {
        "IsStreaming": status.state is State.STREAMING,
        "State": str(status.state),
        "Error": "" if status.state is State.STREAMING else status.reason,
        "Since": str(status.since_ns),
        "Source": str(settings.source),
        "InputFps": facts.native_fps if facts else 0.0,
        "InputImageSize": text_from_size(facts.size) if facts else "",
        "OutputFps": settings.fps,
        "OutputImageSize": text_from_size(settings.encoding.size),
        "OutputFrames": counters.published,
        "CapturedFrames": counters.captured,
        "DroppedFrames": dict(counters.dropped),
    }


def text_from_size(size: Size | None) -> str:
    """`640x480`, or nothing for the camera's own size."""
    return f"{size[0]}x{size[1]}" if size and any(size) else ""

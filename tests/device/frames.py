"""Frames taken from a camera, and what they and its counters say."""

import time

from device_camera.capture.camera import Camera
from device_camera.capture.state import Status
from device_camera.frame import Frame, decode_picture
from device_camera.sources.pattern import number_in


def take(camera: Camera, count: int, seconds: float = 10.0) -> list[Frame]:
    """The next `count` frames, taken as fast as they come."""
    taken: list[Frame] = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} frames came: {camera.status}, {camera.counters}"
        if frame := camera.frames.take():
            taken.append(frame)
        time.sleep(0.001)
    return taken


def number_of(frame: Frame) -> int:
    return number_in(decode_picture(frame.jpeg))


def is_right(camera: Camera) -> bool:
    counters = camera.counters
    return counters.captured == counters.published + sum(counters.dropped.values())


def states(heard: list[Status]) -> list[str]:
    return [status.state.value for status in heard]

"""A camera of this benchmark: its device, and its frames as device-camera makes them."""

import time
import uuid
from functools import cache

import yaml
from device_camera.frame import Frame
from device_camera.publisher import event_from_frame, frame_resource
from edgex_kit.wire import codec
from edgex_kit.wire.codec import PLAIN, Encoding, Parts
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceResource
from edgex_kit.wire.messages import AddEventRequest, new_id
from edgex_kit.wire.topics import Topics

from benchmarks.programs import ROOT

TOPICS = Topics()


def name_of(camera: int) -> str:
    return f"bench-{camera}"


@cache
def device_of(camera: int) -> Device:
    return Device(
        name=name_of(camera),
        admin_state="UNLOCKED",
        operating_state="UP",
        service_name="device-camera",
        profile_name=profile().name,
        protocols={},
    )


@cache
def profile() -> DeviceProfile:
    return codec.convert(yaml.safe_load((ROOT / "profiles" / "camera.yaml").read_text()), DeviceProfile)


@cache
def resource() -> DeviceResource:
    found = frame_resource(profile())
    assert found is not None
    return found


@cache
def topic_of(camera: int) -> str:
    return TOPICS.frame("device-camera", profile().name, name_of(camera), resource().name)


def frame_of(jpeg: bytes, size: tuple[int, int], seq: int) -> Frame:
    """A frame that was captured now."""
    return Frame(jpeg, *size, seq, str(uuid.uuid4()), time.time_ns(), time.monotonic_ns())


def encode_frame(frame: Frame, camera: int = 0, encoding: Encoding = PLAIN) -> bytes:
    """The message device-camera publishes, in one piece."""
    return b"".join(frame_parts(frame, camera, encoding))


def frame_parts(frame: Frame, camera: int = 0, encoding: Encoding = PLAIN) -> Parts:
    """The same in the pieces in which device-camera gives it to the socket."""
    event = event_from_frame(frame, device_of(camera), resource())
    return codec.encode_parts(AddEventRequest(request_id=new_id(), event=event), encoding=encoding)

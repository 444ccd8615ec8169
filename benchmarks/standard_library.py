"""The reference of framing: the same event and envelope, written well with json, base64 and cbor2 alone."""

import base64
import json
import time
import uuid
from typing import Any

import cbor2

DEVICE, PROFILE, SOURCE = "bench-0", "vision-camera", "Frame"


def encode_frame(jpeg: bytes, seq: int) -> bytes:
    """One message for the bus."""
    event = {
        "apiVersion": "v3",
        "id": str(uuid.uuid4()),
        "deviceName": DEVICE,
        "profileName": PROFILE,
        "sourceName": SOURCE,
        "origin": time.time_ns(),
        "readings": [_reading(jpeg)],
        "tags": {"frameId": str(uuid.uuid4()), "seq": seq, "captureOrigin": str(time.time_ns())},
    }
    request = {"apiVersion": "v3", "requestId": str(uuid.uuid4()), "event": event}
    envelope = {
        "apiVersion": "v3",
        "receivedTopic": "",
        "correlationID": str(uuid.uuid4()),
        "requestID": "",
        "errorCode": 0,
        "payload": base64.b64encode(cbor2.dumps(request)).decode("ascii"),
        "contentType": "application/cbor",
    }
    return json.dumps(envelope).encode()


def decode_frame(message: bytes) -> bytes:
    """The JPEG of a message."""
    envelope = json.loads(message)
    if envelope["contentType"] != "application/cbor":
        raise ValueError(envelope["contentType"])
    jpeg: Any = cbor2.loads(base64.b64decode(envelope["payload"]))["event"]["readings"][0]["binaryValue"]
    return bytes(jpeg)


def _reading(jpeg: bytes) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "origin": time.time_ns(),
        "deviceName": DEVICE,
        "resourceName": SOURCE,
        "profileName": PROFILE,
        "valueType": "Binary",
        "binaryValue": jpeg,
        "mediaType": "image/jpeg",
    }

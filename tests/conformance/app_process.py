"""app-inference as a process of its own, small real models for it, and frames to show it.

The models see a lamp where there is light: one box in the middle, its score the lightness of the picture.
"""

import base64
import contextlib
import copy
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cbor2
import cv2
import numpy as np
import openvino as ov
import paho.mqtt.client as paho
import requests
import yaml
from edgex_standin.address import Address
from openvino import opset13 as op

from tests.conformance.peers import WAIT, until

START_WAIT = 60.0  # seconds
PROFILE = "vision-camera"
SERVICE = "device-camera"
METER = {"Model": "meter"}  # a pipeline
CLOSED_PORT = 9  # discard: nobody answers there


def save_meter(
    models: Path, name: str = "meter", version: str = "1.0.0", label: str = "lamp", trips: int = 0, side: int = 32
) -> Path:
    """A detector whose one box has the picture's lightness as its score; it works `trips` times 20 µs on white."""
    picture = op.parameter([1, 3, side, side], np.float32, name="picture")
    light = op.multiply(op.reduce_mean(picture, np.arange(4)), np.float32(1 / 255))
    score = op.add(light, _labour(light, trips)) if trips else light
    ends = [op.constant(np.array(values, np.float32)) for values in ([0, 0], [0.25, 0.25, 0.75, 0.75])]
    row = op.concat([ends[0], op.reshape(score, np.array([1]), False), ends[1]], 0)
    graph = ov.Model([op.result(op.reshape(row, np.array([1, 1, 1, 7]), False))], [picture], name)
    folder = models / name / version
    folder.mkdir(parents=True)
    ov.save_model(graph, folder / "model.xml", compress_to_fp16=False)
    facts = {"schema": "vision.model/1", "name": name, "version": version, "type": "ssd", "labels": [label]}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")
    return folder


def _labour(light: ov.Node, trips: int) -> ov.Node:
    """Zero, after as many matrix products as `light` of `trips`."""
    state = op.parameter([64, 64], np.float32)
    after = op.tanh(op.matmul(state, state, False, False))
    go_on = op.constant(np.array(True))
    loop = op.loop(op.convert(op.multiply(light, np.float32(trips)), "i64"), op.constant(np.array(True)))
    loop.set_function(ov.Model([op.result(after), op.result(go_on)], [state], "labour"))
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(state, op.constant(np.full((64, 64), 0.01, np.float32)).output(0), after.output(0))
    done = loop.get_iter_value(after.output(0), -1)
    return op.multiply(op.reduce_sum(done, np.arange(2)), np.float32(0))


@lru_cache(maxsize=256)
def picture(light: int = 200, kind: str = ".jpg", width: int = 64, height: int = 48) -> bytes:
    """An encoded gray picture, 0..255."""
    encoded = cv2.imencode(kind, np.full((height, width, 3), light, np.uint8))[1]
    return bytes(encoded.tobytes())


def frame_event(camera: str, data: bytes, seq: int = 0, media_type: str = "image/jpeg", **tags: Any) -> dict[str, Any]:
    """A frame as device-camera publishes it; its tags can be replaced, and are left out when they are None."""
    origin = time.time_ns()
    names = {"deviceName": camera, "profileName": PROFILE}
    reading = {"id": str(uuid.uuid4()), "origin": origin, **names, "resourceName": "Frame", "valueType": "Binary"}
    known = {"frameId": str(uuid.uuid4()), "seq": seq, "captureOrigin": str(origin), "width": 64, "height": 48, **tags}
    return {
        "apiVersion": "v3",
        "id": str(uuid.uuid4()),
        **names,
        "sourceName": "Frame",
        "origin": origin,
        "readings": [{**reading, "binaryValue": data, "mediaType": media_type}],
        "tags": {key: value for key, value in known.items() if value is not None},
    }


def envelope(payload: Any, content_type: str = "application/json", **fields: Any) -> dict[str, Any]:
    """What EdgeX wraps around everything."""
    ids = {"correlationID": str(uuid.uuid4()), "requestID": ""}
    head = {"apiVersion": "v3", "receivedTopic": "", **ids, "errorCode": 0}
    return {**head, "payload": payload, "contentType": content_type, **fields}


def frame_message(event: dict[str, Any]) -> bytes:
    """An event with a picture as EdgeX writes it by default: base64 of CBOR in a JSON envelope."""
    request = {"apiVersion": "v3", "requestId": str(uuid.uuid4()), "event": event}
    payload = base64.b64encode(cbor2.dumps(request)).decode()
    return json.dumps(envelope(payload, "application/cbor")).encode()


def frame_topic(camera: str, base: str = "edgex", source: str = "Frame") -> str:
    return f"{base}/frames/{SERVICE}/{PROFILE}/{camera}/{source}"


@dataclass(frozen=True, slots=True)
class App:
    """A running app-inference."""

    key: str
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = requests.get(f"{self.url}/api/v3/vision/status", timeout=5).json()
        return status

    def camera(self, name: str) -> dict[str, Any]:
        """A camera's row; empty while there is none."""
        return next((row for row in self.status()["cameras"] if row["name"] == name), {})

    def said(self, *words: str) -> list[str]:
        """The lines of its log that hold all of these words."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if all(word in line for word in words)]


OpenApp = Callable[..., contextlib.AbstractContextManager[App]]


def configure(folder: Path, *changes: dict[str, Any], **sections: Any) -> Path:
    """The packaged configuration with changes, in `folder`, where the models are, too."""
    packaged = files("app_inference").joinpath("res/configuration.yaml").read_text(encoding="utf-8")
    tree = yaml.safe_load(packaged)
    tree["Writable"]["Pipelines"] = {}
    own = {"Service": {"Host": "127.0.0.1", "Port": 0}, "Inference": {"ModelsDir": str(folder / "models")}}
    for change in (own, *changes, sections):
        _merge(tree, copy.deepcopy(change))  # what is put into the tree may be changed there by the next
    (folder / "configuration.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder


def bus_section(address: Address, base: str) -> dict[str, Any]:
    """The bus of a broker, below a prefix of the test's own."""
    return {"Host": address.host, "Port": address.port, "BaseTopicPrefix": base}


def _keep_to_itself(folder: Path) -> None:
    """Nobody says where core-metadata is without core-keeper, and an app would ask a gateway's on EdgeX's own port."""
    file = folder / "configuration.yaml"
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    tree.setdefault("Clients", {}).setdefault("core-metadata", {"Host": "127.0.0.1", "Port": CLOSED_PORT})
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")


def _merge(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


@contextlib.contextmanager
def run_app(
    folder: Path,
    *flags: str,
    key: str = "app-inference",
    wait: bool = True,
    own_key: bool = True,
    **environ: str,
) -> Iterator[App]:
    """A process for the length of the block, configured by `configure`; ended with SIGTERM if it has not ended."""
    if not any(flag.startswith("-cp") for flag in flags):
        _keep_to_itself(folder)
    log = folder / f"{key}-{uuid.uuid4().hex[:6]}.log"
    named = [f"-sk={key}"] if own_key else []
    command = [sys.executable, "-m", "app_inference", *named, f"-cd={folder}", *flags]
    unique = {"MESSAGEBUS_OPTIONAL_CLIENTID": f"{key}-{uuid.uuid4().hex[:6]}", "EDGEX_SECURITY_SECRET_STORE": "false"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stderr=out, env={**os.environ, **unique, **environ})
    try:
        port = until(lambda: _port(process, log), f"{key} is up", START_WAIT) if wait else 0
        yield App(key, f"http://127.0.0.1:{port}", process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()
            print(log.read_text(encoding="utf-8")[-20_000:])  # noqa: T201 - pytest shows it when the test fails


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    text = log.read_text(encoding="utf-8")
    assert process.poll() is None, text
    found = re.search(r"started on port (\d+)", text)
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Told:
    """A result event as it came."""

    topic: str
    envelope: dict[str, Any]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = self.envelope["payload"]["event"]
        return event

    @property
    def said(self) -> dict[str, Any]:
        """The Object reading."""
        said: dict[str, Any] = self.event["readings"][0]["objectValue"]
        return said


class Stage:
    """A plain MQTT client that shows frames and remembers the results."""

    def __init__(self, host: str, port: int, base: str = "edgex") -> None:
        self.base = base
        self.service = ""  # whose results count; empty: everybody's
        self.told: list[Told] = []
        self._granted = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{base}/events/device/+/+/+/+", qos=1)
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = self._received
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(host, port)
        self._client.loop_start()
        assert self._granted.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, data: bytes) -> None:
        """`topic` is below the base prefix."""
        self._client.publish(f"{self.base}/{topic}", data)

    def show(self, camera: str, light: int = 200, seq: int = 0, **fields: Any) -> str:
        """A frame of device-camera; gives back its id."""
        event = frame_event(camera, picture(light), seq, **fields)
        self._client.publish(frame_topic(camera, self.base), frame_message(event))
        return str(event["tags"]["frameId"])

    def settle(self) -> None:
        """Wait until the broker has everything that was published."""
        self._client.publish(f"{self.base}/settled", b"", qos=1).wait_for_publish(30)

    def of(self, camera: str, pipeline: str = "") -> list[Told]:
        """The results of a camera, in the order in which they came."""
        return [
            it
            for it in list(self.told)
            if it.event["deviceName"] == camera and pipeline in ("", it.event["sourceName"])
        ]

    def _received(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):  # not everything is a result
            told = Told(message.topic, json.loads(message.payload))
            if told.said and self.service in ("", told.topic.split("/")[-4]):
                self.told.append(told)


@contextlib.contextmanager
def open_stage(host: str, port: int, base: str = "edgex") -> Iterator[Stage]:
    stage = Stage(host, port, base)
    try:
        yield stage
    finally:
        stage.close()


def result_of(stage: Stage, camera: str) -> Told:
    """The first result of a camera, waited for."""
    told: Told = until(lambda: next(iter(stage.of(camera)), None), f"a result of {camera}")
    return told


def post(app: App, body: bytes, content_type: str = "application/cbor") -> requests.Response:
    """A request of the HTTP trigger."""
    return requests.post(f"{app.url}/api/v3/trigger", data=body, headers={"Content-Type": content_type}, timeout=WAIT)

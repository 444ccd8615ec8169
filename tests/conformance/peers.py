"""Plain clients of EdgeX: HTTP and MQTT as anybody speaks them, with nothing of our own kit in between."""

import base64
import contextlib
import json
import os
import queue
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cbor2
import paho.mqtt.client as paho
import pytest
import requests

WAIT = 20.0  # seconds anything may take


@dataclass(frozen=True, slots=True)
class Core:
    """Where EdgeX is."""

    keeper: str
    metadata: str
    data: str
    command: str
    broker: tuple[str, int]


def named_core() -> Core | None:
    """EdgeX's own, where the environment says where it is."""
    if not os.environ.get("EDGEX_CORE_KEEPER"):
        return None
    keeper, metadata, data, command = (
        os.environ[f"EDGEX_CORE_{name}"].rstrip("/") for name in ("KEEPER", "METADATA", "DATA", "COMMAND")
    )
    host, _, port = os.environ["EDGEX_BROKER"].rpartition(":")
    return Core(keeper, metadata, data, command, (host, int(port)))


def core_of(edgex: Any) -> Core:
    """A stand-in's."""
    return Core(edgex.keeper, edgex.metadata, edgex.data, edgex.command, (edgex.broker.host, edgex.broker.port))


def until(check: Callable[[], Any], what: str, wait: float = WAIT) -> Any:
    """What `check` says, once it says something."""
    deadline = time.monotonic() + wait
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {wait:g} s: {what}"
        time.sleep(0.05)
    return found


def short() -> str:
    """The end of a name that nobody else has."""
    return uuid.uuid4().hex[:6]


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the bus, with its payload in plain data."""

    topic: str
    envelope: dict[str, Any]
    payload: Any
    at: float = field(default_factory=time.monotonic)


def heard_from(message: paho.MQTTMessage) -> Heard | None:
    """None for what is no envelope."""
    try:
        envelope = json.loads(message.payload)
        payload = envelope["payload"]
    except (ValueError, KeyError, TypeError):
        return None
    if envelope["contentType"] == "application/cbor":
        payload = cbor2.loads(base64.b64decode(payload, validate=True))
    return Heard(message.topic, envelope, payload)


class Ear:
    """Everything that is said on a topic while the block lasts."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Heard] = queue.Queue()

    def next(self, fits: Callable[[Heard], Any] = lambda _: True, wait: float = WAIT) -> Heard:
        deadline = time.monotonic() + wait
        while True:
            try:
                heard = self.queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"nothing fitting was said within {wait:g} s")
            if fits(heard):
                return heard

    def is_silent(self, seconds: float, fits: Callable[[Heard], Any] = lambda _: True) -> bool:
        deadline = time.monotonic() + seconds
        with contextlib.suppress(queue.Empty):
            while True:
                if fits(self.queue.get(timeout=max(0.0, deadline - time.monotonic()))):
                    return False
        return True


class Bus:
    """The message bus as any EdgeX client sees it: raw MQTT and JSON."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._ears: list[tuple[str, Ear]] = []
        self._granted: queue.Queue[int] = queue.Queue()
        self._last: paho.MQTTMessageInfo | None = None
        client.on_subscribe = lambda _c, _d, mid, *_: self._granted.put(mid)
        client.on_message = self._received

    def publish(self, topic: str, data: "str | bytes | dict[str, Any]") -> None:
        self._client.publish(topic, json.dumps(data) if isinstance(data, dict) else data, qos=1).wait_for_publish(WAIT)

    def shout(self, topic: str, data: bytes) -> None:
        """Send and forget."""
        self._last = self._client.publish(topic, data)

    @property
    def is_quiet(self) -> bool:
        """Whether all that was shouted has left."""
        return self._last is None or self._last.is_published()

    @contextlib.contextmanager
    def listen(self, pattern: str) -> Iterator[Ear]:
        ear = Ear()
        self._ears.append((pattern, ear))
        _, mid = self._client.subscribe(pattern)
        while self._granted.get(timeout=WAIT) != mid:
            pass
        try:
            yield ear
        finally:
            self._ears.remove((pattern, ear))
            self._client.unsubscribe(pattern)

    def ask(self, topic: str, reply_to: str, payload: Any, wait: float = WAIT, **envelope: Any) -> Heard:
        """A request and its answer."""
        request_id = str(uuid.uuid4())
        request = {
            "apiVersion": "v3",
            "receivedTopic": "",
            "correlationID": str(uuid.uuid4()),
            "requestID": request_id,
            "errorCode": 0,
            "payload": payload,
            "contentType": "application/json",
            **envelope,
        }
        with self.listen(f"{reply_to}/{request_id}") as ear:
            self.publish(topic, request)
            answer = ear.next(wait=wait)
        assert answer.envelope["requestID"] == request_id
        if not answer.envelope["errorCode"]:
            assert answer.envelope["correlationID"] == request["correlationID"]
        return answer

    def _received(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        heard = heard_from(message)
        for pattern, ear in list(self._ears):
            if heard and paho.topic_matches_sub(pattern, message.topic):
                ear.queue.put(heard)


@contextlib.contextmanager
def open_bus(core: Core) -> Iterator[Bus]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect(*core.broker)
    client.loop_start()
    try:
        yield Bus(client)
    finally:
        client.disconnect()
        client.loop_stop()


class Metadata:
    """core-metadata over plain HTTP."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/api/v3"

    def get(self, path: str) -> Any:
        answer = requests.get(f"{self.url}/{path}", timeout=WAIT)
        return answer.json() if answer.status_code == 200 else None

    def add(self, kind: str, item: dict[str, Any], key: str = "", **params: str) -> dict[str, Any]:
        """The result of one added thing."""
        body = [{"apiVersion": "v3", key or kind: item}]
        answer = requests.post(f"{self.url}/{kind.lower()}", json=body, params=params, timeout=WAIT)
        assert answer.status_code == 207, answer.text
        result: dict[str, Any] = answer.json()[0]
        return result

    def change(self, kind: str, item: dict[str, Any], key: str = "", method: str = "PATCH") -> None:
        body = [{"apiVersion": "v3", key or kind: item}]
        answer = requests.request(method, f"{self.url}/{kind.lower()}", json=body, timeout=WAIT)
        assert [one["statusCode"] for one in answer.json()] == [200], answer.text

    def delete(self, path: str) -> int:
        return requests.delete(f"{self.url}/{path}", timeout=WAIT).status_code

    def device(self, name: str) -> dict[str, Any]:
        device: dict[str, Any] = self.get(f"device/name/{quote(name, safe='')}")["device"]
        return device


@dataclass(frozen=True, slots=True)
class Device:
    """A running device service: its name and where it answers."""

    service: str
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def get(self, device: str, command: str, **query: str) -> requests.Response:
        path = f"/api/v3/device/name/{quote(device, safe='')}/{quote(command, safe='')}"
        return requests.get(self.url + path, params=query, timeout=WAIT)

    def put(self, device: str, command: str, body: Any = None, **query: str) -> requests.Response:
        path = f"/api/v3/device/name/{quote(device, safe='')}/{quote(command, safe='')}"
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        return requests.put(self.url + path, data=data, params=query, timeout=WAIT)

    def event(self, device: str, command: str, **query: str) -> dict[str, Any]:
        """The event of a GET that must work."""
        answer = self.get(device, command, **query)
        assert answer.status_code == 200, answer.text
        is_cbor = answer.headers["Content-Type"] == "application/cbor"
        event: dict[str, Any] = (cbor2.loads(answer.content) if is_cbor else answer.json())["event"]
        return event

    def value(self, device: str, resource: str) -> Any:
        (reading,) = self.event(device, resource, **{"ds-regexcmd": "false"})["readings"]
        return reading.get("value", reading.get("objectValue"))


def events_of(device: Device, camera: str, source: str = "#") -> str:
    """The topic of a camera's events."""
    return f"edgex/events/device/{device.service}/{camera}/{camera}/{source}"


OpenDevice = Callable[..., AbstractContextManager[Device]]
AddCamera = Callable[..., str]

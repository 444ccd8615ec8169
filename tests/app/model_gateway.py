"""A gateway whose model is an EdgeX device, with who commands it and who shows it frames."""

import json
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import requests

from tests.app.updating import MODEL
from tests.conformance.app_process import App, Stage, envelope
from tests.conformance.peers import until

QUICK = {"observe": {"minFrames": 30, "holdSeconds": 0.2}}


@dataclass
class Gateway:
    """A running app-inference of a name of its own, with its model as a device."""

    app: App
    stage: Stage
    edgex: Any
    models: Path
    folder: Path

    @property
    def device(self) -> str:
        return f"model-{self.app.key}-{MODEL}"

    def known(self) -> dict[str, Any]:
        """The device as core-metadata knows it; empty while it does not."""
        answer = requests.get(f"{self.edgex.metadata}/api/v3/device/name/{self.device}", timeout=5)
        return dict(answer.json()["device"]) if answer.ok else {}

    def patch(self, **fields: Any) -> None:
        body = [{"apiVersion": "v3", "device": {"name": self.device, **fields}}]
        answer = requests.patch(f"{self.edgex.metadata}/api/v3/device", json=body, timeout=10)
        assert answer.json()[0]["statusCode"] == 200, answer.text

    def put(self, command: str, value: Any) -> requests.Response:
        """What curl does: a command through core-command."""
        url = f"{self.edgex.command}/api/v3/device/name/{self.device}/{command}"
        text = value if isinstance(value, str) else json.dumps(value)
        return requests.put(url, json={command: text}, timeout=10)

    def deploy(self, version: str, **request: Any) -> None:
        answer = self.put("Deploy", {"version": version, **QUICK, **request})
        assert answer.status_code == 200, answer.text

    def get(self, command: str) -> Any:
        url = f"{self.edgex.command}/api/v3/device/name/{self.device}/{command}"
        answer = requests.get(url, timeout=10)
        assert answer.ok, answer.text
        (reading,) = answer.json()["event"]["readings"]
        return reading["objectValue"] if reading["valueType"] == "Object" else reading["value"]

    def serves(self, version: str, wait: float = 20) -> None:
        until(lambda: self.get("ActiveVersion") == version, f"{version} serves", wait)

    def settled(self, version: str, wait: float = 20) -> None:
        until(lambda: (self.get("ActiveVersion"), self.get("State")) == (version, "IDLE"), f"{version} is in", wait)

    def key(self, name: str) -> str:
        return f"{self.edgex.keeper}/api/v3/kvs/key/edgex/v4/{self.app.key}/Models/{name}"

    def reported(self) -> dict[str, Any]:
        answer = requests.get(self.key("Reported"), params={"plaintext": "true"}, timeout=5)
        return dict(json.loads(answer.json()["response"][0]["value"])) if answer.ok else {}

    def scrape(self) -> str:
        return requests.get(f"{self.app.url}/metrics", timeout=5).text

    def accounted(self, flow: "Flow") -> dict[str, Any]:
        """The camera's row, once every frame shown is analysed or dropped."""
        row = self.app.camera(flow.camera)
        done = row["framesAnalysed"] + sum(row["dropped"].values())
        return row if done == row["framesReceived"] == len(flow.shown) else {}

    def frames(self) -> "Flow":
        return Flow(self.stage, f"cam-{uuid.uuid4().hex[:6]}")


class Bus:
    """A client of core-command over the message bus."""

    def __init__(self, edgex: Any, *topics: str) -> None:
        self._heard: list[tuple[str, dict[str, Any]]] = []
        self._granted = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        wanted = [(topic, 0) for topic in ("edgex/response/core-command/#", *topics)]
        self._client.on_connect = lambda client, *_: client.subscribe(wanted)
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = lambda _client, _data, it: self._heard.append((it.topic, json.loads(it.payload)))
        self._client.connect(edgex.broker.host, edgex.broker.port)
        self._client.loop_start()
        assert self._granted.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def ask(self, device: str, command: str, method: str, payload: Any) -> dict[str, Any]:
        asked = str(uuid.uuid4())
        request = envelope(payload, requestID=asked)
        self._client.publish(f"edgex/core/command/request/{device}/{command}/{method}", json.dumps(request))
        said: dict[str, Any] = until(
            lambda: next((it for _, it in self._heard if it["requestID"] == asked), None), "said"
        )
        return said

    def envelopes(self, level: str) -> list[dict[str, Any]]:
        """The messages whose topic has this level."""
        return [it for topic, it in list(self._heard) if level in topic.split("/")]

    def heard(self) -> set[str]:
        """The last levels of the topics that something came on."""
        return {topic.rpartition("/")[2] for topic, _ in list(self._heard)}


class Flow:
    """Frames of one camera without a pause, for the length of a block."""

    def __init__(self, stage: Stage, camera: str) -> None:
        self.camera = camera
        self.shown: list[str] = []
        self._stage = stage
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, name="flow")

    def __enter__(self) -> "Flow":
        self._thread.start()
        until(lambda: self._stage.of(self.camera), "frames flow")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def versions(self) -> list[str]:
        return [it.said["model"]["version"] for it in self._stage.of(self.camera)]

    def labels(self) -> list[str]:
        return [it.said["objects"][0]["label"] for it in self._stage.of(self.camera)]

    def _show(self) -> None:
        while not self._ended.wait(0.03):
            self.shown.append(self._stage.show(self.camera, seq=len(self.shown)))

"""Both services in EdgeX's secure mode, and what nobody may ever see of a secret: the points 4, 6, 26 and 27.

OpenBao is played over real HTTP (`openbao`); core-keeper is asked through a relay that writes down who asked what.
"""

import contextlib
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import requests
from edgex_kit.clients.keeper import Keeper

from tests.conformance.app_process import configure
from tests.conformance.camera_profile import PROFILE
from tests.conformance.peers import WAIT, Core, Metadata, until
from tests.conformance.relay import Relay, open_relay
from tests.kit.openbao import OpenBao, running

pytestmark = pytest.mark.timeout(90)
checklist = pytest.mark.checklist

SERVICES = ("device_camera", "app_inference")
PERSON = {"Authorization": "Bearer jwt-of-a-person"}
SECRET = "Correct-Horse-77"


@pytest.fixture
def relay(core: Core) -> Iterator[Relay]:
    with open_relay(core.keeper) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Started:
    """A service that answers."""

    key: str
    url: str
    log: Path

    def get(self, path: str, **how: Any) -> requests.Response:
        return requests.get(f"{self.url}/api/v3/{path}", timeout=WAIT, **how)

    def store(self, name: str, headers: dict[str, str] | None = None, **data: str) -> int:
        items = [{"key": key, "value": value} for key, value in data.items()]
        body = {"apiVersion": "v3", "secretName": name, "secretData": items}
        return requests.post(f"{self.url}/api/v3/secret", json=body, headers=headers, timeout=WAIT).status_code


Start = Callable[..., contextlib.AbstractContextManager[Started]]


@pytest.fixture
def start(tmp_path: Path, core: Core, free_port: int) -> Start:
    """`with start("device_camera", keeper_url, KEY="value") as service`: once it has started."""

    @contextlib.contextmanager
    def run(module: str, keeper: str, key: str = "", **environ: str) -> Iterator[Started]:
        key = key or f"app-{uuid.uuid4().hex[:8]}"
        folder = tmp_path / module
        folder.mkdir()
        flags = [f"-cd={configure(folder)}"] if module == "app_inference" else []
        own = {"SERVICE_PORT": str(free_port), "SERVICE_HOST": "localhost", "DEVICE_DEVICESDIR": ""}
        command = [sys.executable, "-m", module, f"-cp=keeper.{keeper}", "-r", f"-sk={key}", *flags]
        client = {"MESSAGEBUS_OPTIONAL_CLIENTID": key}
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **own, **client, **environ}
            )
        try:
            until(lambda: process.poll() is not None or " started" in log.read_text(), f"{key} has started", 40)
            assert process.poll() is None, log.read_text()
            yield Started(key, f"http://localhost:{free_port}", log)
        finally:
            process.terminate()
            process.wait(15)
            print(log.read_text()[-8000:])  # noqa: T201 - pytest shows it when the test fails
            prefix = f"{core.keeper}/api/v3/kvs/key/edgex/v4/{key}"
            requests.delete(prefix, params={"prefixMatch": "true"}, timeout=WAIT)

    return run


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, OpenBao]]:
    """A service key and its place in the secret store."""
    key = f"app-{uuid.uuid4().hex[:8]}"
    with running(key, tmp_path / "secrets") as bao:
        yield key, bao


@checklist(26)
@pytest.mark.parametrize("module", SERVICES)
def test_in_secure_mode_callers_show_a_token_and_so_do_we(
    module: str, start: Start, relay: Relay, secure: tuple[str, OpenBao]
) -> None:
    key, bao = secure
    with start(module, relay.url, key, **bao.environment) as service:
        assert service.get("ping").status_code == 200
        for path in ("version", "config", "device/name/a/b", "vision/status"):
            for headers in ({}, {"Authorization": "Bearer forged"}, {"Authorization": "Basic dTpw"}):
                refused = service.get(path, headers=headers)
                assert (refused.status_code, refused.json()) == (401, {"message": "Unauthorized"})
        assert service.store("door", password=SECRET) == 401
        assert service.get("config", headers=PERSON).status_code == 200
    assert {asked.authorization for asked in relay.asked} == {f"Bearer jwt-of-{key}"}
    assert {asked.method for asked in relay.asked} >= {"GET", "PUT", "POST"}


@checklist(26)
def test_checking_of_callers_can_be_turned_off(start: Start, relay: Relay, secure: tuple[str, OpenBao]) -> None:
    key, bao = secure
    with start("device_camera", relay.url, key, **bao.environment, EDGEX_DISABLE_JWT_VALIDATION="true") as service:
        assert service.get("config").status_code == 200
    assert {asked.authorization for asked in relay.asked} == {f"Bearer jwt-of-{key}"}


@checklist(4, 27)
@pytest.mark.parametrize("module", SERVICES)
def test_the_token_is_read_renewed_and_read_again_after_a_new_one_was_made(
    module: str, start: Start, relay: Relay, secure: tuple[str, OpenBao]
) -> None:
    key, bao = secure
    with start(module, relay.url, key, **bao.environment) as service:
        until(lambda: "POST /v1/auth/token/renew-self" in bao.asked, "the token is renewed")
        bao.end_token()
        assert service.store("door", PERSON, username="u", password=SECRET) == 201
        assert bao.secrets["door"] == {"username": "u", "password": SECRET}
        assert "PUT /api/v3/token/entityId/e-1" in bao.asked
        assert SECRET not in service.get("config", headers=PERSON).text
    assert SECRET not in service.log.read_text()
    assert "jwt-of" not in service.log.read_text()
    assert not [asked for asked in relay.asked if "InsecureSecrets" in asked.path]


@checklist(27)
def test_without_a_token_a_service_says_what_it_waits_for(tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "EDGEX_SECURITY_SECRET_STORE"}
    told = {"EDGEX_STARTUP_DURATION": "1", "SECRETSTORE_TOKENFILE": str(tmp_path / "secrets-token.json")}
    done = subprocess.run(
        [sys.executable, "-m", "device_camera"], env={**environ, **told}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "no token for the secret store in" in done.stderr
    assert "set EDGEX_SECURITY_SECRET_STORE=false" in done.stderr
    assert len(done.stderr.splitlines()) == 2, "what it waits for, and that it gave up"


@checklist(6)
@pytest.mark.parametrize("module", SERVICES)
def test_values_are_asked_for_in_plain_text_and_come_as_they_were_stored(
    module: str, start: Start, core: Core, relay: Relay
) -> None:
    key, words = f"app-{uuid.uuid4().hex[:8]}", "Grüße aus dem Flur: started = wahr"
    url = f"{core.keeper}/api/v3/kvs/key/edgex/v4/{key}/Service/StartupMsg"
    requests.put(url, json={"value": words}, timeout=WAIT)
    with start(module, relay.url, key) as service:
        assert service.get("config").json()["config"]["Service"]["StartupMsg"] == words
    reads = [asked.path for asked in relay.asked if asked.method == "GET" and "/kvs/" in asked.path]
    assert reads
    assert all("plaintext=true" in path for path in reads)


@checklist(6)
async def test_values_in_base64_say_the_same_as_in_plain_text(core: Core, unique: str) -> None:
    keeper, key = Keeper(core.keeper), f"edgex/v4/{unique}"
    written = {f"{key}/Text": "Grüße: started = wahr", f"{key}/Below/Number": "59985", f"{key}/Below/Empty": ""}
    try:
        for name, value in written.items():
            await keeper.put(name, value)
        assert await keeper.values(key, plaintext=False) == await keeper.values(key) == written
        assert await keeper.values(f"{key}-nowhere", plaintext=False) == {}
    finally:
        await keeper.delete(key)
        keeper.close()


# -- nobody sees a secret


class Listener:
    """Everything that is said on the bus, but by core-keeper, which tells a new secret's value to whoever listens."""

    def __init__(self, core: Core) -> None:
        self.said: list[bytes] = []
        ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("#")
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._heard
        self.client.connect(*core.broker)
        self.client.loop_start()
        assert ready.wait(WAIT)

    def _heard(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if not message.topic.startswith("edgex/configs/"):
            self.said.append(message.payload)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listener(core: Core) -> Iterator[Listener]:
    opened = Listener(core)
    yield opened
    opened.close()


def put(core: Core, service: Started, path: str, value: str) -> None:
    url = f"{core.keeper}/api/v3/kvs/key/edgex/v4/{service.key}/Writable/{path}"
    assert requests.put(url, json={"value": value}, timeout=WAIT).status_code == 200


def tell_all(core: Core, service: Started) -> None:
    """Everything is logged and measured."""
    put(core, service, "LogLevel", "DEBUG")
    for name in ("EventsSent", "LastConnected", "FramesDropped", "ResultsWaiting"):
        put(core, service, f"Telemetry/Metrics/{name}", "true")
    put(core, service, "Telemetry/Interval", "1s")


@checklist(4)
def test_no_output_of_the_camera_service_shows_a_secret(
    start: Start, core: Core, metadata: Metadata, listener: Listener, unique: str
) -> None:
    shown = []
    with start("device_camera", core.keeper) as service:
        tell_all(core, service)
        metadata.add("deviceProfile", {**PROFILE, "name": unique}, key="profile")
        cameras = {
            f"{unique}-rtsp": {"Source": "rtsp://127.0.0.1:9/live", "SecretName": "door"},
            f"{unique}-http": {"Source": "http://127.0.0.1:9/video", "SecretName": "door"},
        }
        assert service.store("door", username="porter", password=SECRET) == 201
        try:
            for name, camera in cameras.items():
                states = {"adminState": "UNLOCKED", "operatingState": "UP"}
                device = {"name": name, "serviceName": service.key, "profileName": unique, **states}
                added = metadata.add("device", {**device, "protocols": {"Camera": camera}})
                assert added["statusCode"] == 201, added
            for name in cameras:
                until(lambda name=name: service.get(f"device/name/{name}/Source").status_code != 404, "it is known")
                asked = [f"device/name/{name}/{it}" for it in ("Source", "Frame", "Rate", "Tuning", "Look", "no-such")]
                shown += [service.get(path, params={"ds-pushevent": "true"}).text for path in asked]
                shown.append(str(metadata.device(name)))
            shown += [service.get(path).text for path in ("config", "version")]
            until(lambda: b"LastConnected" in b"".join(listener.said), "telemetry was told")
            shown.append(str(metadata.get(f"deviceservice/name/{service.key}")))
        finally:
            for name in cameras:
                metadata.delete(f"device/name/{name}")
            metadata.delete(f"deviceprofile/name/{unique}")
    shown += [service.log.read_text(), b"\n".join(listener.said).decode("utf-8", "replace")]
    assert "porter" not in service.log.read_text()
    assert len(shown) > 15
    assert not [text for text in shown if SECRET in text]


@checklist(4)
def test_no_output_of_the_inference_service_shows_a_secret(start: Start, core: Core, listener: Listener) -> None:
    with start("app_inference", core.keeper) as service:
        assert service.store("door", username="porter", password=SECRET) == 201
        tell_all(core, service)
        until(lambda: b"ResultsWaiting" in b"".join(listener.said), "telemetry was told")
        shown = [service.get(path).text for path in ("config", "version", "vision/status")]
        shown += [requests.get(f"{service.url}/{path}", timeout=WAIT).text for path in ("", "metrics", "nowhere")]
        wrong = requests.post(f"{service.url}/api/v3/secret", data=f'{{"secretName": ["{SECRET}"]}}', timeout=WAIT)
        assert wrong.status_code == 400
        shown.append(wrong.text)
    shown += [service.log.read_text(), b"\n".join(listener.said).decode("utf-8", "replace")]
    assert not [text for text in shown if SECRET in text]

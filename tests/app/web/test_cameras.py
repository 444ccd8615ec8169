"""The status and the page show the cameras of core-metadata, with the reason of their device service."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from app_inference.web.cameras import KnownCamera
from app_inference.web.status import OVERLOAD_MS, state_of
from edgex_standin.address import free_port

from tests.app.browser import open_browser
from tests.app.page_scripts import READ_CARD
from tests.conformance.app_process import save_meter
from tests.conformance.peers import until

UP = KnownCamera("device-camera", "UNLOCKED", "UP")


def row(is_live: bool = False, last: str = "", share: float = 0.0, p50: float | None = None) -> dict[str, Any]:
    return {"isLive": is_live, "lastFrameOrigin": last, "replacedShare": share, "latencyMs": {"p50": p50}}


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("seen", "known", "state"),
    [
        (row(), UP, "waiting"),
        (row(), KnownCamera("device-camera", "UNLOCKED", "DOWN", reason="401"), "lost"),
        (row(), KnownCamera("device-camera", "UNLOCKED", "DOWN"), "lost"),
        (row(last="1"), UP, "stale"),
        (row(last="1"), None, "stale"),
        (row(last="1"), KnownCamera("device-camera", "LOCKED", "UP"), "locked"),
        (row(last="1"), KnownCamera("device-camera", "UNLOCKED", "UP", "stopped", "streaming is off"), "stopped"),
        (row(is_live=True), UP, "live"),
        (row(is_live=True, share=0.53), UP, "overloaded"),
        (row(is_live=True, p50=OVERLOAD_MS + 200), UP, "overloaded"),
    ],
)
def test_the_state_of_a_camera(seen: dict[str, Any], known: KnownCamera | None, state: str) -> None:
    found = state_of(seen, known)
    assert found["state"] == state
    assert bool(found["reason"]) == (state == "overloaded" or bool(known and known.reason))


@dataclass(frozen=True)
class Running:
    """A core, device-camera with four cameras, and app-inference."""

    url: str
    edgex: Any

    def states(self) -> dict[str, tuple[str, str]]:
        rows = requests.get(f"{self.url}/api/v3/vision/status", timeout=5).json()["cameras"]
        return {it["name"]: (it["state"], it["reason"]) for it in rows}

    def patch(self, **device: str) -> None:
        body = [{"apiVersion": "v3", "device": device}]
        requests.patch(f"{self.edgex.metadata}/api/v3/device", json=body, timeout=10).raise_for_status()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, open_standin: Callable[..., Any]) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cameras")
    save_meter(folder / "models")
    cameras = {"gate": "pattern:", "missing": f"{folder}/no-such.mp4", "locked": "pattern:", "off": "pattern:"}
    devices = [
        {"name": name, "profileName": "vision-camera",
         "protocols": {"Camera": {"Source": source, "AutoStreaming": name != "off"}}}
        for name, source in cameras.items()
    ]  # fmt: skip
    (folder / "devices").mkdir()
    (folder / "devices/cameras.yaml").write_text(yaml.safe_dump({"deviceList": devices}), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        edgex = stack.enter_context(open_standin("--state=:memory:"))
        common = {
            "EDGEX_SECURITY_SECRET_STORE": "false", "SERVICE_HOST": "127.0.0.1",
            "MESSAGEBUS_HOST": edgex.broker.host, "MESSAGEBUS_PORT": str(edgex.broker.port),
            "CLIENTS_CORE_METADATA_PORT": edgex.metadata.rpartition(":")[2],
        }  # fmt: skip

        def start(module: str, **environment: str) -> str:
            port = free_port("127.0.0.1")
            log = stack.enter_context((folder / f"{module}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", module, f"-cp={edgex.provider}", "-r"], stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **common, "SERVICE_PORT": str(port), **environment},
            )  # fmt: skip
            stack.callback(_end, process)
            url = f"http://127.0.0.1:{port}"
            until(lambda: _answers(url), f"{module} answers", 60)
            return url

        start("device_camera", DEVICE_DEVICESDIR=str(folder / "devices"), DRIVER_ALLOWEDPATHS="*")
        models = {"INFERENCE_MODELSDIR": str(folder / "models"), "WRITABLE_PIPELINES_DEFAULT_MODEL": "meter"}
        yield Running(start("app_inference", **models), edgex)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/api/v3/ping", timeout=2).ok
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(20)


@pytest.mark.integration
@pytest.mark.timeout(180)
@pytest.mark.fault(26)
def test_cameras_that_never_sent_a_frame_are_shown_with_their_reason(running: Running, tmp_path: Path) -> None:
    running.patch(name="locked", adminState="LOCKED")
    expected = {"gate": "live", "missing": "lost", "locked": "locked", "off": "stopped"}
    until(lambda: {name: it for name, (it, _) in running.states().items()} == expected, "states", 60)
    assert "no-such.mp4" in running.states()["missing"][1]
    with open_browser(tmp_path) as browser:
        browser.open(running.url)
        until(lambda: "no-such.mp4" in browser.run(READ_CARD, "missing"), "the card has the reason", 20)
        facts = browser.text("#facts")
    assert "1 of 2 cameras live" in facts
    assert "2 locked or stopped" in facts
    running.patch(name="locked", adminState="UNLOCKED")
    until(lambda: running.states()["locked"][0] == "live", "it is live without a restart", 30)
    requests.delete(f"{running.edgex.metadata}/api/v3/device/name/missing", timeout=5).raise_for_status()
    until(lambda: "missing" not in running.states(), "the deleted one is gone", 20)


@pytest.mark.integration
@pytest.mark.timeout(180)
@pytest.mark.fault(6)
def test_a_refused_key_is_shown_with_its_reason_and_the_others_apply(running: Running, tmp_path: Path) -> None:
    key = f"{running.edgex.keeper}/api/v3/kvs/key/edgex/v4/app-inference/Writable"
    for path, value in (("Pipelines/default/Threshold", "high"), ("LogLevel", "DEBUG")):
        requests.put(f"{key}/{path}", json={"value": value}, timeout=5).raise_for_status()

    def status() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{running.url}/api/v3/vision/status", timeout=5).json()
        return found

    (refused,) = until(lambda: status()["refusedKeys"], "the key is refused", 20)
    assert refused["key"] == "Writable.Pipelines.default.Threshold"
    assert "high" in refused["reason"]
    with open_browser(tmp_path) as browser:
        browser.open(running.url)
        until(lambda: refused["key"] in browser.text("#refused"), "the page shows it", 20)
    config = requests.get(f"{running.url}/api/v3/config", timeout=5).json()["config"]
    assert config["Writable"]["LogLevel"] == "DEBUG", "another key of the same change applies"
    requests.put(f"{key}/Pipelines/default/Threshold", json={"value": "0.4"}, timeout=5).raise_for_status()
    until(lambda: not status()["refusedKeys"], "it is accepted", 20)

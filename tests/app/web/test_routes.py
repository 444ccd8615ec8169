"""REST beside the common routes: status, pictures and the live stream."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count, pairwise
from types import SimpleNamespace

import pytest
import requests
from app_inference.pipeline.live_view import LiveView
from app_inference.web import routes
from app_inference.web.routes import LIVE_HZ, Thinning
from app_inference.web.status import counts_by_camera
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service.metrics import Metrics
from edgex_kit.service.rest import build_app
from edgex_kit.service.server import open_server
from edgex_standin.address import Address

from tests.app.results import a_result
from tests.conformance.app_process import (
    METER,
    PROFILE,
    App,
    Stage,
    bus_section,
    configure,
    frame_event,
    frame_message,
    open_stage,
    picture,
    run_app,
    save_meter,
)
from tests.conformance.peers import until

BASE = "routes"


@pytest.mark.parametrize("fps", [5, 15, 25, 30, 60])
def test_the_live_stream_is_thinned_evenly(fps: int) -> None:
    thinning = Thinning()
    chosen = [number for number in range(fps * 10) if thinning.chooses(a_result(number), number / fps)]
    assert len(chosen) / 10 == pytest.approx(min(fps, LIVE_HZ), rel=0.05)
    gaps = {then - before for before, then in pairwise(chosen)}
    assert max(gaps) - min(gaps) <= 2


def test_all_results_of_one_frame_are_sent_or_none() -> None:
    thinning = Thinning()
    for number in range(100):
        now = number / 40
        chosen = {thinning.chooses(a_result(number, pipeline=it), now) for it in ("lamps", "doors", "cars")}
        assert len(chosen) == 1


def test_each_camera_is_thinned_by_itself() -> None:
    thinning = Thinning()
    assert all(thinning.chooses(a_result(0, camera), 0) for camera in ("gate", "yard"))
    assert not thinning.chooses(a_result(1, "gate"), 0.01)


def test_counts_are_those_of_the_camera() -> None:
    metrics = Metrics("app-inference")
    metrics.counter("FramesReceived", camera="gate").add(7)
    metrics.counter("FramesAnalysed", camera="gate").add(4)
    metrics.counter("FramesDropped", camera="gate", reason="Replaced").add(2)
    metrics.counter("FramesDropped", camera="yard", reason="Rate").add(1)
    metrics.gauge("ResultsWaiting").set(5)
    gate, yard = (counts_by_camera(metrics)[camera] for camera in ("gate", "yard"))
    assert (gate.frames_received, gate.frames_analysed, gate.frames_replaced) == (7, 4, 2)
    assert (gate.dropped, yard.dropped) == ({"Replaced": 2}, {"Rate": 1})


@pytest.fixture(scope="module")
def app(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("routes")
    save_meter(folder / "models")
    configure(folder, MessageBus=bus_section(broker, BASE), Writable={"Pipelines": {"lamps": METER}})
    with run_app(folder, "-s") as running:
        yield running


@pytest.fixture
def stage(broker: Address) -> Iterator[Stage]:
    with open_stage(broker.host, broker.port, BASE) as stage:
        yield stage


@pytest.mark.integration
def test_the_live_stream_begins_with_the_newest_results(app: App, stage: Stage, unique: str) -> None:
    known = stage.show(unique)
    until(lambda: stage.of(unique), "a first result")
    with requests.get(f"{app.url}/api/v3/vision/live", stream=True, timeout=10) as live:
        assert live.headers["Content-Type"].startswith("text/event-stream")
        events = (json.loads(line[6:]) for line in live.iter_lines() if line.startswith(b"data: "))
        assert next(it for it in events if it["camera"] == unique)["frameId"] == known
        new = stage.show(unique)
        said = next(it for it in events if it["camera"] == unique)
        assert (said["frameId"], said["pipeline"]) == (new, "lamps")


@contextlib.asynccontextmanager
async def live_stream(port: int) -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """The status of a request for the live stream, and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v3/vision/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    yield int((await reader.readline()).split()[1]), reader
    writer.close()
    await writer.wait_closed()


@pytest.mark.integration
@pytest.mark.fault(12)
async def test_live_streams_are_limited_and_silent_ones_are_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "LIVE_PING", 0.05)
    monkeypatch.setattr(routes, "MOST_LIVE", 2)
    view = LiveView()
    served = build_app(routes.routes(SimpleNamespace(), view), ServiceSection())  # type: ignore[arg-type]
    async with open_server(served, "127.0.0.1", 0) as port, live_stream(port) as (one, reader):
        async with live_stream(port) as (other, _), live_stream(port) as (refused, _):
            assert (one, other, refused) == (200, 200, 503)
        assert await asyncio.wait_for(reader.readuntil(b": ping"), 5)
        while len(view._listeners) > 1:  # the one that was closed is noticed
            await asyncio.sleep(0.01)
        async with live_stream(port) as (again, _):
            assert again == 200


@pytest.mark.integration
@pytest.mark.fault(28)
def test_metrics_have_one_family_each(app: App, stage: Stage, unique: str) -> None:
    stage.show(unique)
    until(lambda: stage.of(unique), "a result")
    answer = requests.get(f"{app.url}/metrics", timeout=5)
    assert answer.ok
    assert all(f"edgex_{name}_seconds" in answer.text for name in ("queue_wait", "result_latency"))
    helped = [line.split()[2] for line in answer.text.splitlines() if line.startswith("# HELP")]
    assert len(helped) == len(set(helped))
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    for extended in ((), ("--extended",)):
        done = subprocess.run([promtool, "check", "metrics", *extended], input=answer.content, capture_output=True)
        assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.integration
def test_a_camera_with_any_name_has_its_picture(app: App, stage: Stage) -> None:
    for name, level in (("a b", "a b"), ("a/b", "a%2Fb"), ("ü+#", "ü%2B%23"), ("100%25", "100%2525")):
        event_id = _show(stage, name, level)
        until(lambda name=name: app.camera(name).get("results"), f"{name} has a result")
        quoted = requests.utils.quote(name, safe="")
        found = requests.get(f"{app.url}/api/v3/vision/picture/{quoted}", params={"frameId": event_id}, timeout=5)
        assert (found.status_code, found.content) == (200, picture())
        told = until(lambda name=name: stage.of(name), f"the result of {name}")[-1]
        assert told.topic.split("/")[-2] == requests.utils.quote(name, safe=" ü") if set(name) & set("/+#%") else name


def _show(stage: Stage, name: str, level: str) -> str:
    event = frame_event(name, picture())
    stage.publish(f"frames/device-camera/{PROFILE}/{level}/Frame", frame_message(event))
    return str(event["tags"]["frameId"])


@pytest.mark.integration
def test_status_holds_what_terminal_and_page_show(app: App, stage: Stage, unique: str) -> None:
    for seq in count():
        stage.show(unique, seq=seq)
        time.sleep(0.05)
        row = app.camera(unique)
        if row.get("resultsPerSecond", 0) > 3:
            break
    status = app.status()
    assert status["isBrokerConnected"] is True
    assert (status["resultsWaiting"], status["resultsDropped"], status["resultsResent"]) == (0, 0, 0)
    assert status["pipelines"]["lamps"]["Model"] == "meter"
    assert row["isLive"] is True
    assert row["framesPerSecond"] == pytest.approx(row["resultsPerSecond"], rel=0.5)
    assert 0 < row["latencyMs"]["p50"] <= row["latencyMs"]["p99"] < 5000
    assert (row["seen"][0]["topLabel"], row["seen"][0]["count"]) == ("lamp", 1)

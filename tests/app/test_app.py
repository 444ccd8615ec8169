"""The whole service as a process, with good and bad frames."""

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from edgex_standin.address import Address

from tests.conformance.app_process import (
    METER,
    PROFILE,
    App,
    Stage,
    bus_section,
    configure,
    frame_event,
    frame_message,
    frame_topic,
    open_stage,
    picture,
    run_app,
    save_meter,
)
from tests.conformance.peers import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
BASE = "mainvision"  # a prefix of its own on the broker that all tests share
SLOW = ("slow-a", "slow-b", "slow-c")
PIPELINES = {
    "lamps": METER,
    "missing": {"Model": "no-such-model"},
    "slow": {"Model": "labour", "Cameras": ",".join(SLOW)},
    "strict": {"Model": "meter", "Cameras": "strict-cam", "Threshold": 0.9, "PublishEmpty": False},
}

# 65536 more empty scans than a camera would send
SCANS = b"\xff\xd8\xff\xc2\x00\x11\x08\x00\x20\x00\x20\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01" + (
    b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00" * 65536
)


@pytest.fixture(scope="module")
def app(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Four workers, and a model that takes up to 20 ms for a white picture of some cameras."""
    folder = tmp_path_factory.mktemp("app")
    save_meter(folder / "models")
    save_meter(folder / "models", "labour", trips=1000)
    configure(
        folder,
        MessageBus=bus_section(broker, BASE),
        Writable={"Pipelines": PIPELINES},
        Inference={"Workers": 4, "Streams": 2},
        Trigger={"SubscribeTopics": "frames/#, events/device/#"},
    )
    with run_app(folder, "-s") as running:
        yield running


@pytest.fixture
def stage(broker: Address) -> Iterator[Stage]:
    with open_stage(broker.host, broker.port, BASE) as stage:
        yield stage


def accounted(app: App, camera: str, sent: int) -> dict[str, Any]:
    """The camera's row, once every one of the `sent` frames is analysed or dropped."""

    def row() -> dict[str, Any] | None:
        row = app.camera(camera)
        is_all = row and row["framesAnalysed"] + sum(row["dropped"].values()) == row["framesReceived"] == sent
        return row if is_all else None

    found: dict[str, Any] = until(row, f"{sent} frames of {camera} are accounted for", 20)
    return found


@pytest.mark.goal(4)
def test_a_frame_is_followed_from_its_event_to_its_result(app: App, stage: Stage, unique: str) -> None:
    frames = []
    for seq in range(20):
        frames.append(stage.show(unique, seq=seq))
        until(lambda: len(stage.of(unique)) == len(frames), "the result")
    results = stage.of(unique)
    assert [it.said["frameId"] for it in results] == frames
    assert [it.said["seq"] for it in results] == list(range(20))
    assert {it.topic for it in results} == {f"{BASE}/events/device/app-inference/detection/{unique}/lamps"}
    for it in results:
        assert int(it.said["captureOrigin"]) <= int(it.said["receivedOrigin"]) < int(it.said["resultOrigin"])
        assert it.event["tags"] == {"model": "meter", "modelVersion": "1.0.0"}
        assert (it.said["model"]["name"], it.said["model"]["version"]) == ("meter", "1.0.0")
        assert re.fullmatch("[0-9a-f]{12}", it.said["model"]["digest"])
    assert results[0].said["objects"][0]["label"] == "lamp"
    assert results[0].said["objects"][0]["score"] == pytest.approx(200 / 255, abs=0.01)


def test_under_random_load_results_are_in_order_and_every_frame_is_counted(app: App, stage: Stage) -> None:
    sent, chance = 250, random.Random(4)
    for seq in range(sent):
        for camera in SLOW:
            stage.show(camera, chance.choice((0, 20, 100, 255)), seq)
        time.sleep(0.004)
    for camera in SLOW:
        row = accounted(app, camera, sent)
        results = until(lambda camera=camera, row=row: _all_told(stage, camera, row), "all results", 20)
        seqs = [it.said["seq"] for it in results]
        assert seqs == sorted(set(seqs))
        assert seqs[-1] == sent - 1
        assert row["dropped"] == {"Replaced": sent - len(seqs)}
        origins = [it.event["origin"] for it in results]
        assert origins == sorted(set(origins))
        passed = 0
        for it in results:  # every frame between two results was dropped
            passed += it.said["droppedSinceLast"] + 1
            assert passed == it.said["seq"] + 1
    analysed = [app.camera(camera)["framesAnalysed"] for camera in SLOW]
    assert min(analysed) > 0.8 * max(analysed), "cameras are served alike"
    assert min(analysed) < sent, "the model was to be too slow for all of them"


def _all_told(stage: Stage, camera: str, row: dict[str, Any]) -> list[Any] | None:
    results = stage.of(camera, "slow")
    return results if len(results) == row["framesAnalysed"] == len(stage.of(camera, "lamps")) else None


def test_every_pipeline_has_its_own_results(app: App, stage: Stage) -> None:
    for light in (150, 250):
        stage.show("strict-cam", light)
        until(lambda: stage.of("strict-cam", "lamps"), "a result")
        time.sleep(0.1)
    (strict,) = until(lambda: stage.of("strict-cam", "strict"), "the strict result")
    assert strict.said["objects"][0]["score"] > 0.9
    assert strict.said["droppedSinceLast"] == 0  # the frame before was analysed, without objects
    assert [len(it.said["objects"]) for it in stage.of("strict-cam", "lamps")] == [1, 1]


def test_bad_frames_are_counted_by_reason_and_logged_once(app: App, stage: Stage, unique: str) -> None:
    def show(event: dict[str, Any], source: str = "Frame") -> None:
        stage.publish(frame_topic(unique, "x", source).removeprefix("x/"), frame_message(event))
        stage.settle()
        time.sleep(0.02)

    for _ in range(5):
        show(frame_event("somebody-else", picture()))
        show(frame_event(unique, picture()[:200]))
        show(frame_event(unique, b"no picture at all"))
        show(frame_event(unique, picture(), media_type="application/pdf"))
        show(frame_event(unique, picture(), media_type="image/gif"))
        stage.publish(frame_topic(unique, "x").removeprefix("x/"), b'{"payload": 5}')
        show(frame_event(unique, picture()))
    row = accounted(app, unique, 35)
    assert row["framesAnalysed"] == 5
    assert row["dropped"] == {"Malformed": 15, "ImageBroken": 10, "NoPicture": 5}
    until(lambda: len(stage.of(unique)) == 5, "the good ones")
    said = app.said(f"'{unique}' was dropped")
    assert len(said) == 3
    assert row["lastError"]


def test_ten_thousand_malformed_messages_stop_nothing_and_are_all_counted(app: App, stage: Stage, unique: str) -> None:
    chance = random.Random(1)
    good = frame_message(frame_event(unique, picture()))
    topics = [frame_topic(unique, "x").removeprefix("x/"), f"frames/{unique}", f"events/device/a/b/{unique}/c"]
    before = app.status()
    lines = len(app.said("was dropped"))
    for number in range(10_000):
        stage.publish(topics[number % 3], _garbage(chance, good))
        if number % 500 == 0:
            stage.settle()
            time.sleep(0.1)  # the broker holds a thousand messages for a slow subscriber
    stage.settle()

    def counted() -> int:
        status = app.status()
        named = sum(sum(row["dropped"].values()) for row in status["cameras"] if row["name"] == unique)
        return int(named + sum(status["dropped"].values()) - sum(before["dropped"].values()))

    until(lambda: counted() == 10_000, "every message is counted", 30)
    assert len(app.said("was dropped")) - lines <= 8
    assert not app.said("Traceback")
    stage.show(unique)
    until(lambda: stage.of(unique), "a good frame is analysed as before")


def _garbage(chance: random.Random, good: bytes) -> bytes:
    """Never a frame: cut off, of other bytes, of the wrong shape."""
    makers: list[Callable[[], bytes]] = [
        lambda: good[: chance.randrange(1, len(good) - 1)],
        lambda: chance.randbytes(chance.randrange(1, 300)),
        lambda: b"[" * chance.randrange(1, 3000),
        lambda: b"\xbf" + chance.randbytes(40),
        lambda: json.dumps({"payload": {"event": {"id": 1}}, "contentType": "application/json"}).encode(),
        lambda: json.dumps({"payload": "A" * 400, "contentType": "application/cbor"}).encode(),
        lambda: json.dumps({"payload": None, "contentType": chance.choice(["", "text/plain"])}).encode(),
    ]
    return chance.choice(makers)()


def test_frames_on_thousands_of_topics_leave_memory_bounded_and_other_cameras_served(
    app: App, stage: Stage, unique: str
) -> None:
    def flood(start: int, count: int) -> None:
        for number in range(start, start + count):
            stage.publish(
                f"frames/x/{PROFILE}/{unique}-{number}/Frame", frame_message(frame_event(f"{unique}-{number}", big))
            )
            if number % 200 == 0:
                stage.settle()
                time.sleep(0.1)
        stage.settle()

    big = picture(10, ".png", 640, 480) + bytes(30_000)  # a picture with something behind it: not decoded, but kept
    flood(0, 1200)
    until(lambda: len(app.status()["cameras"]) >= 800, "the queue is full", 20)  # it is trimmed by the hundred
    before = _memory_mb(app)
    flood(1200, 2500)
    stage.show(unique)
    until(lambda: stage.of(unique), "a camera among thousands is served", 20)
    assert len(app.status()["cameras"]) <= 1000
    assert _memory_mb(app) - before < 60


def _memory_mb(app: App) -> float:
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def test_our_own_results_are_not_analysed(app: App, stage: Stage, unique: str) -> None:
    before = sum(app.status()["dropped"].values())
    for _ in range(5):
        stage.show(unique)
        time.sleep(0.05)
    until(lambda: len(stage.of(unique)) == 5, "the results")
    time.sleep(0.3)
    row = app.camera(unique)
    assert (row["framesReceived"], row["dropped"]) == (5, {})
    assert sum(app.status()["dropped"].values()) == before
    assert len(stage.of(unique)) == 5


@pytest.mark.fault(24)
def test_frames_that_the_broker_lost_are_counted(app: App, stage: Stage, unique: str) -> None:
    for number in (1, 2, 6):
        before = len(stage.of(unique))
        stage.show(unique, seq=number, published=number)
        until(lambda before=before: len(stage.of(unique)) > before, "the result")
    row = app.camera(unique)
    assert (row["framesReceived"], row["framesLost"]) == (3, 3)
    assert [it.said["droppedSinceLast"] for it in stage.of(unique)] == [0, 0, 3]


@pytest.mark.fault(3)
def test_a_picture_bomb_costs_its_camera_one_frame_and_the_others_nothing(app: App, stage: Stage, unique: str) -> None:
    stage.publish(f"frames/device-camera/vision-camera/{unique}/Frame", frame_message(frame_event(unique, SCANS)))
    started = time.monotonic()
    stage.show(f"{unique}-yard")
    until(lambda: stage.of(f"{unique}-yard"), "another camera's result")
    assert time.monotonic() - started < 5
    until(lambda: app.camera(unique).get("dropped") == {"ImageBroken": 1}, "the bomb is counted")
    assert "MaxScans" in app.camera(unique)["lastError"]


@pytest.mark.parametrize(("kind", "media_type"), [(".jpg", "image/jpeg"), (".png", "image/png")])
def test_image_events_of_other_services_are_analysed(
    app: App, stage: Stage, unique: str, kind: str, media_type: str
) -> None:
    event = frame_event(unique, picture(220, kind), media_type=media_type)
    event = {**event, "profileName": "Simple-Device", "sourceName": "Image"}
    del event["tags"]
    event["readings"][0].update(resourceName="Image", profileName="Simple-Device")
    image = event["readings"][0]
    counter = {**image, "resourceName": "Counter", "valueType": "Int32", "value": "1"}
    del counter["binaryValue"], counter["mediaType"]
    event["readings"] = [counter, image]
    stage.publish(f"events/device/device-simple/Simple-Device/{unique}/Image", frame_message(event))
    (result,) = until(lambda: stage.of(unique), "the result")
    assert result.said["frameId"] == event["id"]
    assert result.said["captureOrigin"] == str(event["origin"])
    assert result.said["image"]["mediaType"] == media_type
    assert result.said["objects"][0]["score"] == pytest.approx(220 / 255, abs=0.01)


def test_a_missing_model_is_a_failed_row_with_its_reason(app: App) -> None:
    status = app.status()
    states = {row["name"]: row["state"] for row in status["models"]}
    assert states == {"labour": "serving", "meter": "serving", "no-such-model": "failed"}
    (failed,) = [row for row in status["models"] if row["state"] == "failed"]
    assert "no-such-model" in failed["reason"]


def test_the_newest_picture_of_a_camera_can_be_read(app: App, stage: Stage, unique: str) -> None:
    frame = stage.show(unique)
    until(lambda: stage.of(unique), "the result")
    url = f"{app.url}/api/v3/vision/picture/{unique}"
    answer = requests.get(url, params={"frameId": frame}, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, "image/jpeg", picture(200))
    assert requests.get(url, timeout=5).content == picture(200)
    assert requests.get(f"{url}-other", timeout=5).status_code == 404

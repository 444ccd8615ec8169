"""The whole service as a process: what it makes of frames, good and bad, and how it starts and ends."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from edgex_kit.standin.address import Address, free_port
from edgex_kit.standin.broker import open_broker
from eyes import (
    METER,
    PROFILE,
    Eye,
    Stage,
    configure,
    frame_event,
    frame_message,
    frame_topic,
    open_stage,
    picture,
    run_eye,
    save_meter,
)
from peers import until

pytestmark = pytest.mark.timeout(90)

BASE = "mainvision"  # a prefix of its own on the broker that all tests share
SLOW = ("slow-a", "slow-b", "slow-c")
PIPELINES = {
    "lamps": METER,
    "missing": {"Model": "no-such-model"},
    "slow": {"Model": "labour", "Cameras": ",".join(SLOW)},
    "strict": {"Model": "meter", "Cameras": "strict-cam", "Threshold": 0.9, "PublishEmpty": False},
}


def bus(address: Address, base: str = BASE) -> dict[str, Any]:
    return {"Host": address.host, "Port": address.port, "BaseTopicPrefix": base}


@pytest.fixture(scope="module")
def eye(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eye]:
    """Four workers, and a model that takes up to 20 ms for a white picture of some cameras."""
    folder = tmp_path_factory.mktemp("eye")
    save_meter(folder / "models")
    save_meter(folder / "models", "labour", trips=1000)
    configure(
        folder,
        MessageBus=bus(broker),
        Writable={"Pipelines": PIPELINES},
        Inference={"Workers": 4, "Streams": 2},
        Trigger={"SubscribeTopics": "frames/#, events/device/#"},
    )
    with run_eye(folder, "-s") as running:
        yield running


@pytest.fixture
def stage(broker: Address) -> Iterator[Stage]:
    with open_stage(broker.host, broker.port, BASE) as stage:
        yield stage


def accounted(eye: Eye, camera: str, sent: int) -> dict[str, Any]:
    """The camera's row, once every one of the `sent` frames is analysed or dropped."""

    def row() -> dict[str, Any] | None:
        row = eye.camera(camera)
        is_all = row and row["framesAnalysed"] + sum(row["dropped"].values()) == row["framesReceived"] == sent
        return row if is_all else None

    found: dict[str, Any] = until(row, f"{sent} frames of {camera} are accounted for", 20)
    return found


@pytest.mark.goal(4)
def test_a_frame_is_followed_from_its_event_to_its_result(eye: Eye, stage: Stage, unique: str) -> None:
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
        assert it.event["tags"]["frameId"] == it.said["frameId"]
        assert (it.said["model"]["name"], it.said["model"]["version"]) == ("meter", "1.0.0")
        assert re.fullmatch("[0-9a-f]{12}", it.said["model"]["digest"])
    assert results[0].said["objects"][0]["label"] == "lamp"
    assert results[0].said["objects"][0]["score"] == pytest.approx(200 / 255, abs=0.01)


def test_with_random_work_order_holds_nothing_is_doubled_and_every_frame_is_accounted_for(
    eye: Eye, stage: Stage
) -> None:
    sent, chance = 250, random.Random(4)
    for seq in range(sent):
        for camera in SLOW:
            stage.show(camera, chance.choice((0, 20, 100, 255)), seq)
        time.sleep(0.004)
    for camera in SLOW:
        row = accounted(eye, camera, sent)
        results = until(lambda camera=camera, row=row: _all_told(stage, camera, row), "all results", 20)
        seqs = [it.said["seq"] for it in results]
        assert seqs == sorted(set(seqs))
        assert seqs[-1] == sent - 1
        assert row["dropped"] == {"Replaced": sent - len(seqs)}
        origins = [it.event["origin"] for it in results]
        assert origins == sorted(set(origins))
        gone_by = 0
        for it in results:  # what lies between two results is what was dropped
            gone_by += it.said["droppedSinceLast"] + 1
            assert gone_by == it.said["seq"] + 1
    analysed = [eye.camera(camera)["framesAnalysed"] for camera in SLOW]
    assert min(analysed) > 0.8 * max(analysed), "cameras are served alike"
    assert min(analysed) < sent, "the model was to be too slow for all of them"


def _all_told(stage: Stage, camera: str, row: dict[str, Any]) -> list[Any] | None:
    results = stage.of(camera, "slow")
    return results if len(results) == row["framesAnalysed"] == len(stage.of(camera, "lamps")) else None


def test_every_pipeline_answers_for_itself(eye: Eye, stage: Stage) -> None:
    for light in (150, 250):
        stage.show("strict-cam", light)
        until(lambda: stage.of("strict-cam", "lamps"), "a result")
        time.sleep(0.1)
    (strict,) = until(lambda: stage.of("strict-cam", "strict"), "the strict result")
    assert strict.said["objects"][0]["score"] > 0.9
    assert strict.said["droppedSinceLast"] == 0  # the frame before was looked at and held nothing
    assert [len(it.said["objects"]) for it in stage.of("strict-cam", "lamps")] == [1, 1]


def test_bad_frames_are_counted_by_what_is_wrong_and_said_once(eye: Eye, stage: Stage, unique: str) -> None:
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
    row = accounted(eye, unique, 35)
    assert row["framesAnalysed"] == 5
    assert row["dropped"] == {"Malformed": 15, "ImageBroken": 10, "NoPicture": 5}
    until(lambda: len(stage.of(unique)) == 5, "the good ones")
    said = eye.said(f"'{unique}' was dropped")
    assert len(said) == 3
    assert sum("an event of 'somebody-else' came on the topic" in line for line in said) == 1
    assert sum("holds no picture" in line for line in said) == 1
    assert "frame:" in row["lastError"]


def test_ten_thousand_malformed_messages_stop_nothing_and_are_all_counted(eye: Eye, stage: Stage, unique: str) -> None:
    chance = random.Random(1)
    good = frame_message(frame_event(unique, picture()))
    topics = [frame_topic(unique, "x").removeprefix("x/"), f"frames/{unique}", f"events/device/a/b/{unique}/c"]
    before = eye.status()
    lines = len(eye.said("was dropped"))
    for number in range(10_000):
        stage.publish(topics[number % 3], _garbage(chance, good))
        if number % 500 == 0:
            stage.settle()
            time.sleep(0.1)  # the broker holds a thousand messages for a slow subscriber
    stage.settle()

    def counted() -> int:
        status = eye.status()
        named = sum(sum(row["dropped"].values()) for row in status["cameras"] if row["name"] == unique)
        return int(named + sum(status["dropped"].values()) - sum(before["dropped"].values()))

    until(lambda: counted() == 10_000, "every message is counted", 30)
    assert len(eye.said("was dropped")) - lines <= 8
    assert not eye.said("Traceback")
    stage.show(unique)
    until(lambda: stage.of(unique), "a good frame is looked at as before")


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
    eye: Eye, stage: Stage, unique: str
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
    until(lambda: len(eye.status()["cameras"]) >= 800, "the lanes are full", 20)  # room is made by the hundred
    before = _memory_mb(eye)
    flood(1200, 2500)
    stage.show(unique)
    until(lambda: stage.of(unique), "a camera among thousands is served", 20)
    assert len(eye.status()["cameras"]) <= 1000
    assert _memory_mb(eye) - before < 60


def _memory_mb(eye: Eye) -> float:
    status = Path(f"/proc/{eye.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def test_our_own_results_never_come_in_again(eye: Eye, stage: Stage, unique: str) -> None:
    before = sum(eye.status()["dropped"].values())
    for _ in range(5):
        stage.show(unique)
        time.sleep(0.05)
    until(lambda: len(stage.of(unique)) == 5, "the results")
    time.sleep(0.3)
    row = eye.camera(unique)
    assert (row["framesReceived"], row["dropped"]) == (5, {})
    assert sum(eye.status()["dropped"].values()) == before
    assert len(stage.of(unique)) == 5


@pytest.mark.parametrize(("kind", "media_type"), [(".jpg", "image/jpeg"), (".png", "image/png")])
def test_image_events_of_other_services_are_looked_at(
    eye: Eye, stage: Stage, unique: str, kind: str, media_type: str
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


def test_a_missing_model_is_a_failed_row_with_its_reason(eye: Eye) -> None:
    status = eye.status()
    states = {row["name"]: row["state"] for row in status["models"]}
    assert states == {"labour": "serving", "meter": "serving", "no-such-model": "failed"}
    (failed,) = [row for row in status["models"] if row["state"] == "failed"]
    assert "no model 'no-such-model'" in failed["reason"]
    assert len(eye.said("model 'no-such-model' cannot serve")) == 1


def test_the_newest_picture_of_a_camera_can_be_had(eye: Eye, stage: Stage, unique: str) -> None:
    frame = stage.show(unique)
    until(lambda: stage.of(unique), "the result")
    url = f"{eye.url}/api/v3/vision/picture/{unique}"
    answer = requests.get(url, params={"frameId": frame}, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, "image/jpeg", picture(200))
    assert requests.get(url, timeout=5).content == picture(200)
    assert requests.get(f"{url}-other", timeout=5).status_code == 404


def test_without_frames_it_costs_next_to_nothing(eye: Eye) -> None:
    def cpu_s() -> float:
        fields = Path(f"/proc/{eye.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    time.sleep(0.5)
    before, started = cpu_s(), time.monotonic()
    time.sleep(4)
    assert (cpu_s() - before) / (time.monotonic() - started) < 0.02


def alone(folder: Path, address: Address, base: str, **sections: Any) -> Path:
    """A configuration with one quick model."""
    save_meter(folder / "models")
    pipelines = {"Pipelines": {"lamps": METER}}
    return configure(folder, MessageBus=bus(address, base), **{"Writable": pipelines, **sections})


def test_sigterm_ends_it_with_0_even_while_someone_watches(broker: Address, tmp_path: Path, unique: str) -> None:
    with run_eye(alone(tmp_path, broker, unique), "-s") as eye:
        with requests.get(f"{eye.url}/api/v3/vision/live", stream=True, timeout=10) as live:
            assert next(live.iter_lines())
            started = time.monotonic()
            eye.process.send_signal(signal.SIGTERM)
            assert eye.process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert eye.said("app-inference stopped")
        assert not eye.said("level=ERROR")


def test_a_broker_that_is_killed_and_comes_back_costs_no_restart_and_no_result(tmp_path: Path) -> None:
    with open_broker("mosquitto", "127.0.0.1", 0) as broker:
        folder = alone(tmp_path, broker.address, "edgex")
        with (
            run_eye(folder, "-s") as eye,
            open_stage(broker.address.host, broker.address.port) as stage,
        ):
            over = threading.Event()

            def film() -> None:
                seq = 0
                while not over.is_set():
                    stage.show("gate", seq=seq)
                    seq += 1
                    over.wait(0.02)

            filming = threading.Thread(target=film)
            filming.start()
            until(lambda: len(stage.of("gate")) > 20, "results")
            broker._child.kill()
            broker._child.wait()
            until(lambda: not eye.status()["isBrokerConnected"], "the loss is noticed")
            broker.revive()
            before = len(stage.of("gate"))
            until(lambda: len(stage.of("gate")) > before + 20, "results again", 20)
            over.set()
            filming.join()
            stage.settle()
            row = until(lambda: (it := eye.camera("gate")) and it["results"] and it, "")
            seqs = list(dict.fromkeys(it.said["seq"] for it in stage.of("gate")))
            assert seqs == sorted(seqs)
            assert row["framesReceived"] == row["framesAnalysed"] + sum(row["dropped"].values())
            assert (eye.status()["resultsDropped"], eye.status()["resultsWaiting"]) == (0, 0)
            assert len(eye.said("no message broker")) <= 3


@pytest.mark.parametrize("is_back", [True, False])
def test_results_without_a_broker_at_the_end_are_sent_if_it_comes_back_and_told_as_lost_if_not(
    tmp_path: Path, is_back: bool
) -> None:
    with open_broker("mosquitto", "127.0.0.1", 0) as broker:
        folder = alone(tmp_path, broker.address, "edgex", Writable={"Pipelines": {"slow": {"Model": "labour"}}})
        save_meter(folder / "models", "labour", trips=4000)
        with run_eye(folder, "-s") as eye, open_stage(broker.address.host, broker.address.port) as stage:
            for number in range(40):
                stage.show(f"gate-{number}", 255)
            until(lambda: stage.told, "a result")
            broker._child.kill()
            broker._child.wait()
            until(lambda: eye.status()["resultsWaiting"] > 2, "results of frames that had come in")
            eye.process.send_signal(signal.SIGTERM)
            if is_back:
                broker.revive()
            assert eye.process.wait(12) == 0
            assert len(eye.said("results are lost")) == (0 if is_back else 1)


def test_a_worker_that_hangs_ends_the_process_with_one_line(broker: Address, tmp_path: Path, unique: str) -> None:
    save_meter(tmp_path / "models", "hang", trips=2_000_000_000)
    sections = {"Pipelines": {"hang": {"Model": "hang"}}}
    folder = alone(tmp_path, broker, unique, Writable=sections, Inference={"Workers": 2, "StuckAfter": "1s"})
    with run_eye(folder, "-s") as eye, open_stage(broker.host, broker.port, unique) as stage:
        for seq in range(40):  # both workers get one
            stage.show("gate", 255, seq)
            time.sleep(0.02)
        started = time.monotonic()
        assert eye.process.wait(15) == 1
        assert time.monotonic() - started < 8
        (line,) = eye.said("level=ERROR")
        assert "has been busy with one frame on" in line
        assert "gate" in line
        assert not eye.said("Traceback")


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"Writable": {"Pipelines": {"lamps": {"Model": ""}}}}, "Writable.Pipelines.lamps.Model is empty"),
        ({"Writable": {"Pipelines": {"lamps": {"Model": "meter", "Rate": "often"}}}}, "Writable.Pipelines.lamps.Rate"),
        ({"Trigger": {"PublishTopic": "x/{nobody}"}}, "{nobody} is none of"),
        ({"Inference": {"StuckAfter": "soon"}}, "Inference.StuckAfter: 'soon' is no duration"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line_that_names_it(
    broker: Address, tmp_path: Path, unique: str, sections: dict[str, Any], text: str
) -> None:
    with run_eye(alone(tmp_path, broker, unique, **sections), "-s", wait=False) as eye:
        assert eye.process.wait(20) == 1
        (line,) = eye.said("level=ERROR")
        assert text in line


def test_a_taken_port_ends_the_start_with_one_line_before_a_model_is_loaded(
    broker: Address, tmp_path: Path, unique: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_eye(alone(tmp_path, broker, unique, Service={"Port": port}), "-s", wait=False) as eye:
            assert eye.process.wait(20) == 1
            (line,) = eye.said("level=ERROR")
            assert str(port) in line
            assert not eye.said("serves")


def test_rest_answers_while_models_are_loaded_and_says_how_far_they_are(
    broker: Address, tmp_path: Path, unique: str
) -> None:
    port, names = free_port("127.0.0.1"), [f"meter-{number}" for number in range(40)]
    for name in names:
        save_meter(tmp_path / "models", name)
    pipelines = {"Writable": {"Pipelines": {name: {"Model": name} for name in names}}}
    folder = alone(tmp_path, broker, unique, **pipelines, Service={"Port": port}, Trigger={"Type": "http"})
    with run_eye(folder, "-s", wait=False) as eye:
        url = f"http://127.0.0.1:{port}/api/v3"
        until(lambda: _answers(f"{url}/ping"), "ping", 30)
        status = requests.get(f"{url}/vision/status", timeout=5).json()
        refused = [requests.get(f"{url}/device/name/x/Info", timeout=5), requests.post(f"{url}/trigger", timeout=5)]
        assert not eye.said("started on port")
        assert "preparing" in {row["state"] for row in status["models"]}
        assert {it["state"] for it in status["pipelineStates"].values()} == {"preparing"}
        assert {answer.status_code for answer in refused} == {503}
        assert "models are still being loaded" in refused[0].json()["message"]
        until(lambda: eye.said("started on port"), "it is ready", 60)
        status = requests.get(f"{url}/vision/status", timeout=5).json()
        assert {it["state"] for it in status["pipelineStates"].values()} == {"running"}
        assert requests.get(f"{url}/device/name/x/Info", timeout=5).status_code == 404
        assert requests.post(f"{url}/trigger", timeout=5).status_code == 400


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(url, timeout=5).ok
    return False


def test_an_empty_publish_topic_means_that_results_are_only_shown(broker: Address, tmp_path: Path, unique: str) -> None:
    folder = alone(tmp_path, broker, unique, Trigger={"PublishTopic": ""})
    with run_eye(folder, "-s") as eye, open_stage(broker.host, broker.port, unique) as stage:
        stage.show("gate")
        until(lambda: eye.camera("gate").get("results") == 1, "the result is shown")
        stage.settle()
        assert Counter(it.topic for it in stage.told) == {}
        assert uuid.UUID(eye.camera("gate")["seen"][0]["frameId"])

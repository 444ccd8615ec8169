"""The whole service as a process: start, interruptions and end."""

import contextlib
import re
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from app_inference.__main__ import _loading
from edgex_standin.address import Address, free_port
from edgex_standin.broker.broker import open_broker

from tests.conformance.app_process import METER, bus_section, configure, open_stage, run_app, save_meter
from tests.conformance.peers import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def alone(folder: Path, address: Address, base: str, **sections: Any) -> Path:
    """A configuration with one quick model."""
    save_meter(folder / "models")
    pipelines = {"Pipelines": {"lamps": METER}}
    return configure(folder, MessageBus=bus_section(address, base), **{"Writable": pipelines, **sections})


def test_sigterm_ends_it_with_0_also_with_a_client_of_the_live_stream(
    broker: Address, tmp_path: Path, unique: str
) -> None:
    with run_app(alone(tmp_path, broker, unique), "-s") as app:
        with requests.get(f"{app.url}/api/v3/vision/live", stream=True, timeout=10) as live:
            assert next(live.iter_lines())
            started = time.monotonic()
            app.process.send_signal(signal.SIGTERM)
            assert app.process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert not app.said("level=ERROR")


def test_a_broker_that_is_restarted_costs_no_result(tmp_path: Path) -> None:
    with open_broker("mosquitto", "127.0.0.1", 0) as broker:
        folder = alone(tmp_path, broker.address, "edgex")
        with (
            run_app(folder, "-s") as app,
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
            until(lambda: not app.status()["isBrokerConnected"], "the loss is noticed")
            broker.revive()
            before = len(stage.of("gate"))
            until(lambda: len(stage.of("gate")) > before + 20, "results again", 20)
            over.set()
            filming.join()
            stage.settle()
            row = until(lambda: (it := app.camera("gate")) and it["results"] and it, "")
            seqs = list(dict.fromkeys(it.said["seq"] for it in stage.of("gate")))
            assert seqs == sorted(seqs)
            assert row["framesReceived"] == row["framesAnalysed"] + sum(row["dropped"].values())
            assert (app.status()["resultsDropped"], app.status()["resultsWaiting"]) == (0, 0)
            assert len(app.said("no message broker")) <= 3


@pytest.mark.parametrize("is_back", [True, False])
def test_results_that_wait_at_the_end_are_sent_if_the_broker_returns_and_at_the_next_start_if_not(
    tmp_path: Path, is_back: bool
) -> None:
    with open_broker("mosquitto", "127.0.0.1", 0) as broker:
        writable = {"Pipelines": {"slow": {"Model": "labour"}}, "StoreAndForward": {"MinFree": "0"}}
        folder = alone(tmp_path, broker.address, "edgex", Writable=writable)
        save_meter(folder / "models", "labour", trips=4000)
        with run_app(folder, "-s") as app, open_stage(broker.address.host, broker.address.port) as stage:
            for number in range(40):
                stage.show(f"gate-{number}", 255)
            until(lambda: stage.told, "a result")
            broker._child.kill()
            broker._child.wait()
            until(lambda: app.status()["resultsWaiting"] > 2, "results of frames that had come in")
            app.process.send_signal(signal.SIGTERM)
            if is_back:
                broker.revive()
            assert app.process.wait(12) == 0
            assert not app.said("results are lost")
            assert len(app.said("go out at the next start")) == (0 if is_back else 1)
            before = len(stage.told)
        if not is_back:
            broker.revive()
            with run_app(folder, "-s") as app, open_stage(broker.address.host, broker.address.port) as stage:
                waited = int(re.search(r"(\d+) results of before", app.log.read_text())[1])  # type: ignore[index]
                until(lambda: len({it.said["frameId"] for it in stage.told}) == waited, "all of them come")
        assert before


def test_a_worker_that_hangs_ends_the_process_with_one_line(broker: Address, tmp_path: Path, unique: str) -> None:
    save_meter(tmp_path / "models", "hang", trips=2_000_000_000)
    sections = {"Pipelines": {"hang": {"Model": "hang"}}}
    folder = alone(tmp_path, broker, unique, Writable=sections, Inference={"Workers": 2, "StuckAfter": "1s"})
    with run_app(folder, "-s") as app, open_stage(broker.host, broker.port, unique) as stage:
        for seq in range(40):  # both workers get one
            stage.show("gate", 255, seq)
            time.sleep(0.02)
        started = time.monotonic()
        assert app.process.wait(15) == 1
        assert time.monotonic() - started < 8
        (line,) = app.said("level=ERROR")
        assert "gate" in line
        assert not app.said("Traceback")


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"Trigger": {"PublishTopic": "x/{nobody}"}}, "{nobody}"),
        ({"Inference": {"StuckAfter": "soon"}}, "Inference.StuckAfter"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line_that_names_it(
    broker: Address, tmp_path: Path, unique: str, sections: dict[str, Any], text: str
) -> None:
    with run_app(alone(tmp_path, broker, unique, **sections), "-s", wait=False) as app:
        assert app.process.wait(20) == 1
        (line,) = app.said("level=ERROR")
        assert text in line


def test_a_taken_port_ends_the_start_with_one_line_before_a_model_is_loaded(
    broker: Address, tmp_path: Path, unique: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_app(alone(tmp_path, broker, unique, Service={"Port": port}), "-s", wait=False) as app:
            assert app.process.wait(20) == 1
            (line,) = app.said("level=ERROR")
            assert str(port) in line
            assert not app.said("serves")


def test_rest_answers_while_models_are_loaded_and_shows_the_progress(
    broker: Address, tmp_path: Path, unique: str
) -> None:
    port, names = free_port("127.0.0.1"), [f"meter-{number}" for number in range(40)]
    for name in names:
        save_meter(tmp_path / "models", name)
    pipelines = {"Writable": {"Pipelines": {name: {"Model": name} for name in names}}}
    folder = alone(tmp_path, broker, unique, **pipelines, Service={"Port": port}, Trigger={"Type": "http"})
    with run_app(folder, "-s", wait=False) as app:
        url = f"http://127.0.0.1:{port}/api/v3"
        until(lambda: _answers(f"{url}/ping"), "ping", 30)
        status = requests.get(f"{url}/vision/status", timeout=5).json()
        refused = [requests.get(f"{url}/device/name/x/Info", timeout=5), requests.post(f"{url}/trigger", timeout=5)]
        assert not app.said("started on port")
        assert "preparing" in {row["state"] for row in status["models"]}
        assert {it["state"] for it in status["pipelineStates"].values()} == {"preparing"}
        assert {answer.status_code for answer in refused} == {503}
        until(lambda: app.said("started on port"), "it is ready", 60)
        status = requests.get(f"{url}/vision/status", timeout=5).json()
        assert {it["state"] for it in status["pipelineStates"].values()} == {"running"}
        assert requests.get(f"{url}/device/name/x/Info", timeout=5).status_code == 404
        assert requests.post(f"{url}/trigger", timeout=5).status_code == 400


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(url, timeout=5).ok
    return False


async def test_a_start_that_fails_does_not_wait_for_models() -> None:
    read = threading.Event()
    models: Any = SimpleNamespace(load=lambda _wanted: read.wait(20))
    with pytest.raises(LookupError):
        async with _loading(models, {}) as loading:
            raise LookupError
    read.set()
    assert loading.cancelled()


def test_with_an_empty_publish_topic_results_are_only_shown(broker: Address, tmp_path: Path, unique: str) -> None:
    folder = alone(tmp_path, broker, unique, Trigger={"PublishTopic": ""})
    with run_app(folder, "-s") as app, open_stage(broker.host, broker.port, unique) as stage:
        stage.show("gate")
        until(lambda: app.camera("gate").get("results") == 1, "the result is shown")
        stage.settle()
        assert Counter(it.topic for it in stage.told) == {}
        assert uuid.UUID(app.camera("gate")["seen"][0]["frameId"])

"""The store: transactions, and a state folder that survives kill -9 and belongs to one process."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from edgex_kit.wire.errors import Conflict, Unavailable
from edgex_kit.wire.messages import new_id
from edgex_standin.keeper import kv
from edgex_standin.store import IN_MEMORY, open_store


async def test_a_job_that_fails_leaves_no_trace() -> None:
    def half(db: sqlite3.Connection) -> None:
        kv.put(db, "a", "1")
        raise Conflict("no")

    async with open_store(IN_MEMORY) as store:
        with pytest.raises(Conflict):
            await store.run(half)
        assert await store.run(lambda db: kv.find(db, "a")) == []


async def test_jobs_of_many_tasks_do_not_mix() -> None:
    def add(db: sqlite3.Connection) -> None:
        (pair,) = kv.find(db, "n")
        kv.put(db, "n", str(int(pair.value) + 1))

    async with open_store(IN_MEMORY) as store:
        await store.run(lambda db: kv.put(db, "n", "0"))
        await asyncio.gather(*(store.run(add) for _ in range(200)))
        assert [pair.value for pair in await store.run(lambda db: kv.find(db, "n"))] == ["200"]


async def test_the_event_loop_goes_on_while_a_job_takes_its_time() -> None:
    def slow(db: sqlite3.Connection) -> int:
        return int(db.execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) select count(*) from n"
        ).fetchone()[0])  # fmt: skip

    async with open_store(IN_MEMORY) as store:
        job = asyncio.create_task(store.run(slow))
        turns = 0
        while not job.done():
            await asyncio.sleep(0)
            turns += 1
        assert (job.result(), turns > 10) == (300000, True)


async def test_a_folder_is_open_once(tmp_path: Path) -> None:
    async with open_store(str(tmp_path / "a" / "b")):
        with pytest.raises(Unavailable, match=r"another edgex-standin keeps its state in .*; stop it or choose"):
            async with open_store(str(tmp_path / "a" / "b")):
                pass
    async with open_store(str(tmp_path / "a" / "b")):
        pass


@pytest.fixture
def state(tmp_path: Path) -> str:
    return f"--state={tmp_path / 'state'}"


def _service(name: str) -> list[dict[str, Any]]:
    record = {"name": name, "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
    return [{"apiVersion": "v3", "service": record}]


def _event(device: str) -> dict[str, Any]:
    shared = {"deviceName": device, "profileName": "p", "origin": 1795334685911810108}
    reading = {"resourceName": "s", "valueType": "Binary", "binaryValue": "/9j/", "mediaType": "image/jpeg", **shared}
    event = {"apiVersion": "v3", "id": new_id(), "sourceName": "s", "readings": [reading], **shared}
    return {"apiVersion": "v3", "event": event}


def test_a_restart_keeps_everything(open_standin: Any, ask: Any, state: str) -> None:
    entry = {"serviceId": "svc", "host": "127.0.0.1", "port": 1,
             "HealthCheck": {"interval": "10s", "path": "/api/v3/ping", "type": "http"}}  # fmt: skip
    with open_standin(state) as edgex:
        ask("PUT", f"{edgex.keeper}/api/v3/kvs/key/edgex/v4/svc/Writable/LogLevel", {"value": "DEBUG"})
        ask("POST", f"{edgex.keeper}/api/v3/registry", {"apiVersion": "v3", "registration": entry})
        ask("POST", f"{edgex.metadata}/api/v3/deviceservice", _service("svc"))
        ask("POST", f"{edgex.data}/api/v3/event/svc/p/cam/s", _event("cam"))
        before = _everything(ask, edgex)
    with open_standin(state) as edgex:
        assert _everything(ask, edgex) == before
    assert before[0]["response"][0]["value"] == "DEBUG"
    assert before[3]["events"][0]["readings"][0]["binaryValue"] == "/9j/"


def _everything(ask: Any, edgex: Any) -> list[Any]:
    """Without `modified`, which the registry's health check renews."""
    urls = (
        f"{edgex.keeper}/api/v3/kvs/key/edgex/v4/svc?plaintext=true",
        f"{edgex.keeper}/api/v3/registry/serviceId/svc",
        f"{edgex.metadata}/api/v3/deviceservice/name/svc",
        f"{edgex.data}/api/v3/event/all",
    )
    said = [ask("GET", url).body for url in urls]
    for key in ("modified", "status"):
        said[1]["registration"].pop(key)
    return said


def test_a_restart_renews_addresses_and_leaves_what_was_changed(open_standin: Any, ask: Any, state: str) -> None:
    root = "edgex/v4/core-common-config-bootstrapper"
    with open_standin(state) as edgex:
        key = f"{edgex.keeper}/api/v3/kvs/key/{root}/all-services/Writable/Telemetry/Interval"
        ask("PUT", key, {"value": "5s"})
    with open_standin(state) as edgex:
        said = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/{root}?plaintext=true").body["response"]
        values = {pair["key"].removeprefix(root + "/"): pair["value"] for pair in said}
        assert values["all-services/Writable/Telemetry/Interval"] == "5s"
        assert values["all-services/MessageBus/Port"] == str(edgex.broker.port)
        assert values["device-services/Clients/core-metadata/Port"] == edgex.metadata.rpartition(":")[2]
        assert values["IsCommonConfigReady"] == "true"


def test_kill_9_keeps_what_was_answered(open_standin: Any, ask: Any, state: str) -> None:
    answered = 0
    with open_standin(state) as edgex:
        stop = threading.Timer(0.2, lambda: os.kill(edgex.process.pid, signal.SIGKILL))
        with requests.Session() as session:
            try:
                while session.put(f"{edgex.keeper}/api/v3/kvs/key/k/{answered}", json={"value": answered}).ok:
                    answered += 1
                    if answered == 20:
                        stop.start()  # in the middle of what comes now
            except requests.RequestException:
                pass
        stop.join()
        edgex.process.wait(5)
    assert answered >= 20
    with open_standin(state) as edgex:
        found = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/k?keyOnly=true").body["response"]
    assert len(found) in (answered, answered + 1)  # the last one may have been stored and not answered
    assert found == [f"k/{n}" for n in range(len(found))]


def test_of_two_writers_one_wins_each_name(open_standin: Any, ask: Any) -> None:
    with open_standin("--state=:memory:") as edgex:
        url = f"{edgex.metadata}/api/v3/deviceservice"

        def write(_writer: int) -> list[int]:
            return [ask("POST", url, _service(f"svc-{n}")).body[0]["statusCode"] for n in range(25)]

        with ThreadPoolExecutor(2) as writers:
            statuses = [status for written in writers.map(write, range(2)) for status in written]
        assert Counter(statuses) == {201: 25, 409: 25}
        assert ask("GET", f"{url}/all?limit=-1").body["totalCount"] == 25


def test_two_writers_of_one_key_leave_one_whole_value(open_standin: Any, ask: Any) -> None:
    with open_standin("--state=:memory:") as edgex:
        url = f"{edgex.keeper}/api/v3/kvs/key/doc"

        def write(writer: int) -> None:
            for _ in range(25):
                assert ask("PUT", f"{url}?flatten=true", {"value": {"a": writer, "b": writer}}).status == 200

        with ThreadPoolExecutor(2) as writers:
            list(writers.map(write, range(2)))
        values = [pair["value"] for pair in ask("GET", f"{url}?plaintext=true").body["response"]]
        assert values in (["0", "0"], ["1", "1"])


def test_one_folder_serves_one_process(open_standin: Any, state: str) -> None:
    ports = [f"--{name}-port=0" for name in ("keeper", "metadata", "data", "command", "broker")]
    command = [sys.executable, "-m", "edgex_standin", state, *ports]
    with open_standin(state):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert "another edgex-standin keeps its state in" in ended.stderr.splitlines()[-1]


@pytest.mark.integration
@pytest.mark.parametrize("spoilt", ["no database at all" * 100, ""])
def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path, spoilt: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / "edgex.sqlite"
    if spoilt:
        path.write_text(spoilt)
    else:
        with sqlite3.connect(path) as db:
            db.execute("pragma user_version=99")
        db.close()
    ports = [f"--{name}-port=0" for name in ("keeper", "metadata", "data", "command", "broker")]
    command = [sys.executable, "-m", "edgex_standin", f"--state={folder}", *ports]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert str(path) in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr

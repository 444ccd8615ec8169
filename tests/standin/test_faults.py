"""Faults that the stand-in once had, or hid."""

import asyncio
import http.client
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from edgex_kit.wire import codec
from edgex_standin.data import events

from tests.standin.data.test_data import event_request
from tests.standin.device_services import bus_of, device_of, post

pytestmark = pytest.mark.integration

PROFILE = {
    "name": "p",
    "deviceResources": [{"name": "R", "properties": {"valueType": "Int32", "readWrite": "R", "units": "grams"}}],
}


@pytest.mark.fault(1)
async def test_tags_that_differ_from_event_to_event_are_counted_and_said(
    open_standin: Any, ask: Any, unique: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_standin("--state=:memory:") as edgex:
        async with bus_of(edgex) as bus:

            async def send(count: int, **tags: Any) -> int:
                for number in range(count):
                    each = {key: value or str(number) for key, value in tags.items()}
                    body = event_request(unique, "R", {"valueType": "Int32", "value": "1"}, tags=each)
                    bus.publish(f"edgex/events/device/svc/p/{unique}/R", codec.encode(body), qos=1)
                await asyncio.sleep(0.5)
                said = await asyncio.to_thread(ask, "GET", f"{edgex.data}/api/v3/standin/deviceinfo/count")
                return int(said.body["count"])

            assert await send(100, model="yolo", modelVersion="1.0.0") == 1
            async with asyncio.timeout(20):
                while await send(events.MANY_DEVICE_INFO, model="yolo", frameId="") < events.MANY_DEVICE_INFO + 1:
                    await asyncio.sleep(0.1)
    assert "core-data keeps each for ever" in capfd.readouterr().err


@pytest.mark.fault(22)
def test_header_names_are_spelled_as_in_go(edgex: Any) -> None:
    for url in (edgex.keeper, edgex.metadata, edgex.data, edgex.command):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        connection.request("GET", "/api/v3/ping", headers={"X-Correlation-ID": "1"})
        names = [name for name, _ in connection.getresponse().getheaders()]
        connection.close()
        assert "Content-Type" in names
        named = set(names) - {"date"}  # which the HTTP server adds
        assert all(name == "-".join(part.capitalize() for part in name.split("-")) for name in named), names


@pytest.fixture
def switch(edgex: Any, ask: Any) -> Iterator[Any]:
    """Sets a flag of a core service in core-keeper, and sets it back in the end."""
    before: dict[str, str] = {}

    def put(service: str, path: str, value: str) -> None:
        key = f"{edgex.keeper}/api/v3/kvs/key/edgex/v4/{service}/Writable/{path}"
        before.setdefault(key, ask("GET", f"{key}?plaintext=true").body["response"][0]["value"])
        assert ask("PUT", key, {"value": value}).status == 200

    yield put
    for key, value in before.items():
        ask("PUT", key, {"value": value})


@pytest.mark.fault(22)
async def test_units_are_validated_when_core_metadata_is_told_to(
    edgex: Any, ask: Any, unique: str, switch: Any
) -> None:
    switch("core-metadata", "UoM/Validation", "true")
    good = {**PROFILE, "name": unique}
    resource_of = {"valueType": "Int32", "readWrite": "R", "units": "parsec"}
    bad = {**good, "deviceResources": [{"name": "R", "properties": resource_of}]}
    assert (await post(edgex, ask, "deviceprofile", "profile", bad))["statusCode"] == 400
    assert (await post(edgex, ask, "deviceprofile", "profile", good))["statusCode"] == 201
    put = await asyncio.to_thread(
        ask, "PUT", f"{edgex.metadata}/api/v3/deviceprofile", [{"apiVersion": "v3", "profile": bad}]
    )
    assert (put.body[0]["statusCode"], put.body[0]["message"]) == (400, "DeviceResource R units parsec is invalid")
    added = [{"apiVersion": "v3", "profileName": unique, "resource": {"name": "S", "properties": resource_of}}]
    said = await asyncio.to_thread(ask, "POST", f"{edgex.metadata}/api/v3/deviceprofile/resource", added)
    assert said.body[0]["statusCode"] == 400
    text = json.dumps(bad)
    for method in ("POST", "PUT"):
        form = (
            f'--x\r\nContent-Disposition: form-data; name="file"; filename="p.yml"\r\n\r\n{text}\r\n--x--\r\n'.encode()
        )
        said = await asyncio.to_thread(
            ask, method, f"{edgex.metadata}/api/v3/deviceprofile/uploadfile",
            data=form, kind="multipart/form-data; boundary=x",
        )  # fmt: skip
        assert said.status == 400


@pytest.mark.fault(22)
async def test_profiles_are_locked_when_core_metadata_is_told_to(
    edgex: Any, ask: Any, unique: str, switch: Any
) -> None:
    command = {"name": "C", "readWrite": "R", "resourceOperations": [{"deviceResource": "R"}]}
    profile = {**PROFILE, "name": unique, "deviceCommands": [command]}
    assert (await post(edgex, ask, "deviceprofile", "profile", profile))["statusCode"] == 201
    url = f"{edgex.metadata}/api/v3/deviceprofile"
    switch("core-metadata", "ProfileChange/StrictDeviceProfileChanges", "true")
    switch("core-metadata", "ProfileChange/StrictDeviceProfileDeletes", "true")
    said = [
        await asyncio.to_thread(ask, "PUT", url, [{"apiVersion": "v3", "profile": profile}]),
        await asyncio.to_thread(ask, "DELETE", f"{url}/name/{unique}/resource/R"),
        await asyncio.to_thread(ask, "DELETE", f"{url}/name/{unique}/deviceCommand/C"),
        await asyncio.to_thread(ask, "DELETE", f"{url}/name/{unique}"),
    ]
    assert [one.status for one in said] == [423] * 4
    assert said[3].message == "profile deletion is not allowed when StrictDeviceProfileDeletes config is enabled"
    switch("core-metadata", "ProfileChange/StrictDeviceProfileDeletes", "false")
    assert (await asyncio.to_thread(ask, "DELETE", f"{url}/name/{unique}")).status == 200


@pytest.mark.fault(22)
async def test_nothing_is_stored_when_core_data_is_told_not_to(edgex: Any, ask: Any, unique: str, switch: Any) -> None:
    switch("core-data", "PersistData", "false")
    body = event_request(unique, "R", {"valueType": "Int32", "value": "1"})
    said = await asyncio.to_thread(ask, "POST", f"{edgex.data}/api/v3/event/svc/p/{unique}/R", body)
    assert said.status == 201
    said = await asyncio.to_thread(ask, "GET", f"{edgex.data}/api/v3/event/count/device/name/{unique}")
    assert said.body["count"] == 0


@pytest.mark.fault(31)
async def test_a_full_disk_costs_what_is_written_and_not_the_core(tmp_path: Path, ask: Any, unique: str) -> None:
    """No file may grow beyond some size, which SQLite takes for a full disk; then it may again."""
    command = [sys.executable, "-m", "edgex_standin", "--announce", f"--state={tmp_path}", "--request-timeout=2s"]
    ports = [f"--{name}-port=0" for name in ("keeper", "metadata", "data", "command", "broker")]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            urls = json.loads(process.stdout.readline())
            keeper, metadata = urls["keeper"], urls["metadata"]
            entry = {
                "serviceId": unique, "host": "127.0.0.1", "port": 9,
                "healthCheck": {"interval": "200ms", "path": "/", "type": "http"},
            }  # fmt: skip
            assert ask("POST", f"{keeper}/api/v3/registry", {"apiVersion": "v3", "registration": entry}).status == 201
            size = max((tmp_path / name).stat().st_size for name in ("edgex.sqlite", "edgex.sqlite-wal"))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (min(size, 4096), resource.RLIM_INFINITY))
            for number in range(5):
                said = ask("PUT", f"{keeper}/api/v3/kvs/key/{unique}/{number}", {"value": "x" * 100_000})
                assert said.status in (500, 503)
            item = ask("POST", f"{metadata}/api/v3/device", [{"apiVersion": "v3", "device": device_of(unique)}])
            assert item.status in (207, 500, 503)
            await asyncio.sleep(1)
            assert process.poll() is None
            for name in ("keeper", "metadata", "data", "command"):
                assert ask("GET", f"{urls[name]}/api/v3/ping").status == 200
            assert ask("GET", f"{keeper}/api/v3/registry/all").status == 200
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert ask("PUT", f"{keeper}/api/v3/kvs/key/{unique}/again", {"value": "x"}).status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.communicate()
        log.seek(0)
        assert log.read().count("was not kept") <= 1

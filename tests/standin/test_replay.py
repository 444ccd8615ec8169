"""What EdgeX was recorded to say, over HTTP and on the bus, against what the stand-in says to the same requests.

A small peer plays device-simple as far as the core notices: its registration, records, commands and validation.
"""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from edgex_kit.bus.bus import Bus, Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import rest, server
from edgex_kit.wire import codec
from edgex_kit.wire.messages import new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

DEVICE_SIMPLE = "59999"
SERVICES = {"59890": "keeper", "59881": "metadata", "59880": "data", "59882": "command"}
EXCHANGES = 91

# Compared by keys and types only as far as ours go: a Go service shows settings of things we do not have
CONFIGURATIONS = ("keeper config", "metadata config", "data config", "command config")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


Opened = AsyncIterator[None]


@dataclass(slots=True)
class Replay:
    """Both sides of everything: the recording's, and ours."""

    http: list[tuple[dict[str, Any], Any]] = field(default_factory=list)
    bus: list[Message] = field(default_factory=list)


@pytest.fixture(scope="module")
def replay(open_standin: Any, ask: Any, wire: Any) -> Iterator[Replay]:
    with open_standin("--state=:memory:", "--request-timeout=1s") as edgex:
        yield asyncio.run(_replay(edgex, ask, wire("http.json"), wire("bus.json")))


async def _replay(edgex: Any, ask: Any, exchanges: list[Any], recorded: list[Any]) -> Replay:
    found = Replay()
    settings = BusSettings(edgex.broker.host, edgex.broker.port, "replay")
    async with open_bus(settings) as bus, _device_simple(edgex, ask, bus, exchanges, recorded):
        bus.subscribe("edgex/#", found.bus.append)
        assert await bus.settle(5)
        for exchange in exchanges:
            await _before(exchange["name"], bus, ask, edgex, recorded)
            address = urlsplit(exchange["request"]["url"])
            if str(address.port) in SERVICES:
                url = getattr(edgex, SERVICES[str(address.port)]) + address.path
                url += f"?{address.query}" if address.query else ""
                body = exchange["request"]["json"]
                found.http.append((exchange, await asyncio.to_thread(ask, exchange["request"]["method"], url, body)))
        await asyncio.sleep(0.2)  # the last announcements
    return found


async def _before(name: str, bus: Bus, ask: Any, edgex: Any, recorded: list[Any]) -> None:
    """What clients sent on the bus between the HTTP exchanges."""
    if name == "command list":
        for one in (19, 23, 28):
            bus.publish(recorded[one]["topic"], recorded[one]["raw"].encode())
        await asyncio.sleep(0.5)
    if name == "data events of wire-cam":
        for one in recorded[43:46]:
            bus.publish(one["topic"], one["raw"].encode())
        for _ in range(100):
            said = await asyncio.to_thread(ask, "GET", f"{edgex.data}/api/v3/event/count/device/name/wire-cam")
            if said.body["count"] == 3:
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _device_simple(edgex: Any, ask: Any, bus: Bus, exchanges: list[Any], recorded: list[Any]) -> Opened:
    """As much of device-simple as the core sees."""
    answers = {}
    for exchange in exchanges:
        address = urlsplit(exchange["request"]["url"])
        if str(address.port) == DEVICE_SIMPLE:
            answers.setdefault((exchange["request"]["method"], address.path), exchange["response"])

    async def answer(request: Request) -> Response:
        said = answers[request.method, request.url.path]
        body = base64.b64decode(said["body_base64"]) if "body_base64" in said else said["body"].encode()
        return Response(body, said["status"], media_type=said["headers"].get("Content-Type"))

    app = rest.build_app([Route("/{path:path}", answer, methods=["GET", "PUT"])], ServiceSection())
    async with server.open_server(app, "127.0.0.1", 0) as port:
        _answer_on_the_bus(bus, recorded)
        assert await bus.settle(5)
        await asyncio.to_thread(_introduce, edgex, ask, exchanges, port)
        yield


def _answer_on_the_bus(bus: Bus, recorded: list[Any]) -> None:
    commands = {"SwitchButton": recorded[21], "Switch": recorded[25]}

    def command(message: Message) -> None:
        asked = codec.decode_envelope(message.data)
        text = commands[message.topic.split("/")[-2]]["raw"]
        said = json.loads(text) | {"requestID": asked.request_id, "correlationID": asked.correlation_id}
        bus.publish(f"edgex/response/device-simple/{asked.request_id}", json.dumps(said).encode())

    def validate(message: Message) -> None:
        asked = codec.decode_envelope(message.data)
        topic = f"edgex/response/device-simple/{asked.request_id}"
        if "other" in asked.payload["device"]["protocols"]:
            bus.publish(topic, codec.encode(None, correlation_id=asked.correlation_id, request_id=asked.request_id))
        else:
            bus.publish(topic, codec.encode_error("missing 'other' protocols", request_id=asked.request_id))

    bus.subscribe("edgex/device/command/request/device-simple/#", command)
    bus.subscribe("edgex/device-simple/validate/device", validate)


def _introduce(edgex: Any, ask: Any, exchanges: list[Any], port: int) -> None:
    """Its keys, registration, service record, profile and devices."""
    by_name = {exchange["name"]: json.loads(exchange["response"].get("body") or "null") for exchange in exchanges[:60]}
    texts = {pair["key"]: pair["value"] for pair in by_name["keeper key plaintext"]["response"]}
    for key in by_name["keeper keyOnly"]["response"]:
        assert ask("PUT", f"{edgex.keeper}/api/v3/kvs/key/{key}", {"value": texts.get(key, "x")}).status == 200
    entry = by_name["keeper registry one"]["registration"] | {"host": "127.0.0.1", "port": port}
    assert ask("POST", f"{edgex.keeper}/api/v3/registry", {"apiVersion": "v3", "registration": entry}).status == 201
    record = {"name": "device-simple", "baseAddress": f"http://127.0.0.1:{port}", "adminState": "UNLOCKED"}
    _post(edgex, ask, "deviceservice", "service", record)
    _post(edgex, ask, "deviceprofile", "profile", _simple_profile(by_name["command list"]["deviceCoreCommand"]))
    states = {"adminState": "UNLOCKED", "operatingState": "UP"}
    shared = {"serviceName": "device-simple", "protocols": {"other": {}}, **states}
    _post(edgex, ask, "device", "device", {"name": "Simple-Device01", "profileName": "Simple-Device", **shared})
    _post(edgex, ask, "device", "device", {"name": "ProfileScan-Simple-Device", **shared})


def _post(edgex: Any, ask: Any, kind: str, key: str, doc: dict[str, Any]) -> None:
    said = ask("POST", f"{edgex.metadata}/api/v3/{kind}", [{"apiVersion": "v3", "requestId": new_id(), key: doc}])
    assert [item["statusCode"] for item in said.body] == [201], said.text


def _simple_profile(core_command: dict[str, Any]) -> dict[str, Any]:
    """Back from what core-command says of it to the profile."""
    resources, commands = {}, []
    for one in core_command["coreCommands"]:
        access = ("R" if one.get("get") else "") + ("W" if one.get("set") else "")
        used = {part["resourceName"]: part["valueType"] for part in one["parameters"]}
        for name, kind in used.items():
            hidden = name not in [other["name"] for other in core_command["coreCommands"]]
            properties = {"valueType": kind, "readWrite": access}
            resources[name] = {"name": name, "isHidden": hidden, "properties": properties}
        if list(used) != [one["name"]]:
            operations = [{"deviceResource": name} for name in used]
            commands.append({"name": one["name"], "readWrite": access, "resourceOperations": operations})
    return {"name": "Simple-Device", "deviceResources": list(resources.values()), "deviceCommands": commands}


# -- HTTP


def test_every_exchange_with_the_core_was_replayed(replay: Replay, wire: Any) -> None:
    """The rest was between the client and device-simple itself."""
    theirs = [one for one in wire("http.json") if urlsplit(one["request"]["url"]).port == int(DEVICE_SIMPLE)]
    assert len(replay.http) + len(theirs) == EXCHANGES


def test_every_status_is_that_of_edgex(replay: Replay) -> None:
    wrong = {real["name"]: said.status for real, said in replay.http if said.status != real["response"]["status"]}
    assert wrong == {}


def test_every_body_has_the_keys_and_types_of_edgex(replay: Replay, shape: Any) -> None:
    for real, said in replay.http:
        if real["name"] not in CONFIGURATIONS:
            assert _shape(shape, said.text) == _shape(shape, real["response"].get("body", "")), real["name"]


def test_every_refusal_has_the_words_of_edgex(replay: Replay) -> None:
    for real, said in replay.http:
        if real["response"]["status"] >= 400:
            assert said.text.strip() == real["response"]["body"].strip(), real["name"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_shows_the_sections_of_edgex(replay: Replay, name: str) -> None:
    real, said = next(pair for pair in replay.http if pair[0]["name"] == name)
    theirs, ours = json.loads(real["response"]["body"])["config"], said.body["config"]
    for section in ("Service", "MessageBus", "Writable"):
        unknown = set(ours[section]) - set(theirs[section])
        assert not unknown, f"{section}: {unknown}"
        missing = set(theirs[section]) - set(ours[section])
        assert not missing, f"{section}: {missing}"


def test_a_stranger_reads_the_common_configuration_of_edgex(replay: Replay) -> None:
    """Every key, and every value that is no address."""
    real, said = next(pair for pair in replay.http if pair[0]["name"] == "keeper common all")
    bodies = (json.loads(real["response"]["body"]), said.body)
    theirs, ours = ({pair["key"]: pair["value"] for pair in body["response"]} for body in bodies)
    assert set(ours) == set(theirs)
    addresses = re.compile(r"(Host|Port|RequestTimeout)$")
    assert {key: value for key, value in ours.items() if not addresses.search(key)} == {
        key: value for key, value in theirs.items() if not addresses.search(key)
    }


# -- the bus


OURS = (
    *(pytest.param(index, id=f"config-change-{index}") for index in range(4)),
    *(pytest.param(index, id=f"command-relay-{index}") for index in (20, 22, 24, 27)),
    pytest.param(29, id="command-query-29"),
    *(pytest.param(index, id=f"system-event-{index}") for index in range(31, 37)),
    *(pytest.param(index, id=f"validation-request-{index}") for index in (37, 40, 42)),
    *(pytest.param(index, id=f"system-event-{index}") for index in (39, *range(46, 51))),
)


@pytest.mark.parametrize("index", OURS)
def test_a_message_of_the_core_has_the_keys_and_types_of_edgex(
    replay: Replay, wire: Any, shape: Any, index: int
) -> None:
    recorded = wire("bus.json")[index]
    topic = _UUID.sub("<id>", recorded["topic"])
    # Go's relay has its maps in another order and its big numbers rounded; keys and types are the same
    same = [message for message in replay.bus if _UUID.sub("<id>", message.topic) == topic]
    shapes = [_shape(shape, message.data.decode()) for message in same]
    assert _shape(shape, recorded["raw"]) in shapes


def test_a_relayed_command_keeps_its_ids_and_says_where_it_came_from(replay: Replay, wire: Any) -> None:
    asked = json.loads(wire("bus.json")[19]["raw"])
    passed = _only(replay.bus, "edgex/device/command/request/device-simple/Simple-Device01/SwitchButton/get")
    answered = _only(replay.bus, f"edgex/response/core-command/{asked['requestID']}")
    assert (passed.request_id, passed.correlation_id) == (asked["requestID"], asked["correlationID"])
    assert (answered.request_id, answered.correlation_id) == (asked["requestID"], asked["correlationID"])
    assert passed.received_topic == "edgex/core/command/request/Simple-Device01/SwitchButton/get"
    assert answered.received_topic == f"edgex/response/device-simple/{asked['requestID']}"


def test_a_change_carries_the_correlation_id_of_its_request(replay: Replay) -> None:
    """Nobody was heard to announce without one."""
    for message in replay.bus:
        if message.topic.startswith(("edgex/configs/", "edgex/system-events/")):
            assert _UUID.fullmatch(codec.decode_envelope(message.data).correlation_id), message.topic


def _only(messages: list[Message], topic: str) -> Any:
    found = [message for message in messages if message.topic == topic]
    assert len(found) == 1, topic
    return codec.decode_envelope(found[0].data)


def _shape(shape: Any, text: str) -> Any:
    try:
        return _in_any_order(shape(json.loads(text)))
    except ValueError:
        return text.strip()


def _in_any_order(value: Any) -> Any:
    """core-command lists commands, and core-keeper keys, as they come; equal shapes count once."""
    if isinstance(value, list):
        return sorted({json.dumps(_in_any_order(item), sort_keys=True) for item in value})
    return {key: _in_any_order(item) for key, item in value.items()} if isinstance(value, dict) else value

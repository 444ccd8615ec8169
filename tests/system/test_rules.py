"""The example rules use fields that results have, and services that the compose file has.

The rules were tested with eKuiper 2.3.1 by hand; this keeps results and compose file compatible with them.
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from app_inference.pipeline.results import FrameResult, event_from
from app_inference.settings import TriggerSection
from app_inference.stages.stage import DetectedObject
from edgex_kit.wire.messages import Event
from edgex_kit.wire.topics import Topics, matches

from tests.app.results import a_result
from tests.system.containers import ROOT, SECURE, STACK, services

pytestmark = pytest.mark.system

FOLDER = ROOT / "examples/rules"
RULES = sorted(FOLDER.glob("*.rule.json"))
STREAMS = sorted(FOLDER.glob("*.stream.json"))
each_rule = pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _ekuiper(key: str, file: str = STACK) -> dict[str, str]:
    """The settings that a compose file gives eKuiper for one of its EdgeX sources."""
    prefix = f"EDGEX__{key.upper()}__"
    given = services(file)["rules-engine"]["environment"]
    return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def event() -> Event:
    """A result with one person in it."""
    person = DetectedObject("person", 1, 0.81, (404.0, 190.0, 512.0, 470.0), (0.3156, 0.2639, 0.4, 0.6528), ("door",))
    return event_from(a_result(camera="dock-cam", pipeline="default", objects=(person,)))


@pytest.fixture(scope="module")
def row(event: Event) -> dict[str, Any]:
    """The event as eKuiper's EdgeX source makes a row of it: one column a reading."""
    return {
        reading.resource_name: msgspec.to_builtins(reading.object_value)
        if isinstance(reading.object_value, FrameResult)
        else reading.value
        for reading in event.readings
    }


def test_there_are_rules_and_both_kinds_of_streams() -> None:
    assert len(RULES) >= 3
    assert len(STREAMS) == 2
    assert [_load(path)["id"] for path in RULES] == [path.name.removesuffix(".rule.json") for path in RULES]


@each_rule
def test_a_rule_uses_readings_that_a_result_has(path: Path, row: dict[str, Any]) -> None:
    sql = re.sub(r"meta\([^)]*\)", "", _load(path)["sql"])
    aliases = set(re.findall(r"\bAS (\w+)", sql))
    used = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", re.sub(r'"[^"]*"', "", sql))) - aliases
    assert used
    assert used <= set(row)


def test_rules_use_fields_that_objects_have(row: dict[str, Any]) -> None:
    sql = " ".join(_load(path)["sql"] for path in RULES)
    used = re.findall(r'Detections[^"]*, "(\$[^"]*(?:\\"[^"]*)*)"', sql)
    assert len(used) >= 3
    for json_path in used:
        top = re.match(r"\$\.(\w+)", json_path)
        assert top
        inside = re.findall(r"(?:@|\])\.(\w+)", json_path)
        assert all(field in row["Detections"][top[1]][0] for field in inside), json_path


@pytest.mark.fault(25)
def test_a_repeated_result_is_recognised_by_camera_pipeline_and_frame(row: dict[str, Any]) -> None:
    assert {key: row["Detections"][key] for key in ("camera", "pipeline", "frameId")} == {
        "camera": "dock-cam",
        "pipeline": "default",
        "frameId": "f-1",
    }


@each_rule
def test_a_rule_uses_metadata_that_an_event_has(path: Path, event: Event) -> None:
    names = {"deviceName", "profileName", "sourceName", "origin", "tags", "correlationid"}
    for used in re.findall(r"meta\(([^)]*)\)", _load(path)["sql"]):
        name, _, tag = used.partition("->")
        assert name in names
        assert not tag or tag in (event.tags or {})


@each_rule
def test_a_rule_selects_results_alone(path: Path, event: Event) -> None:
    """Without this condition, app-rules-engine would send it what rules publish."""
    assert f'meta(profileName) = "{event.profile_name}"' in _load(path)["sql"]


@each_rule
def test_the_action_of_a_rule_addresses_a_service_or_a_connection_of_the_stack(path: Path) -> None:
    places = {
        f"{service['hostname']}:{port.rsplit(':', 1)[1]}"
        for service in services(STACK).values()
        for port in service.get("ports", [])
    }
    given = services(STACK)["rules-engine"]["environment"]
    connections = {key.split("__")[2].lower() for key in given if key.startswith("CONNECTION__EDGEX__")}
    for action in _load(path)["actions"]:
        ((_, options),) = action.items()
        if "connectionSelector" in options:
            assert options["connectionSelector"] in connections
        else:
            assert re.sub(r"^\w+://([^/]+).*", r"\1", options.get("url") or options["server"]) in places


def test_the_command_of_a_rule_is_one_that_a_camera_takes() -> None:
    profile = yaml.safe_load((ROOT / "profiles/camera.yaml").read_text(encoding="utf-8"))
    writable = {
        resource["name"] for resource in profile["deviceResources"] if "W" in resource["properties"]["readWrite"]
    }
    action = _load(FOLDER / "attention.rule.json")["actions"][0]["rest"]
    resource = action["url"].rsplit("/", 1)[1]
    assert resource in writable
    assert f'"{resource}":' in action["dataTemplate"]


@pytest.mark.parametrize("file", [STACK, SECURE])
def test_the_direct_stream_subscribes_to_what_we_publish(file: str, event: Event) -> None:
    name = re.search(r'CONF_KEY="(\w+)"', _load(FOLDER / "results.stream.json")["sql"])
    assert name
    source = _ekuiper(name[1], file)
    topic = Topics("edgex").below(
        TriggerSection().publish_topic.format(
            servicekey="app-inference",
            profilename=event.profile_name,
            devicename=event.device_name,
            sourcename=event.source_name,
        )
    )
    assert matches(source["TOPIC"], topic)
    assert source["MESSAGETYPE"] == "request", "what is on the bus is an AddEventRequest"
    assert "OPTIONAL__CLIENTID" not in source, "two rules with one client id would disconnect each other"


def test_the_filtered_stream_subscribes_to_app_rules_engine() -> None:
    assert "CONF_KEY" not in _load(FOLDER / "rules-events.stream.json")["sql"]
    source = _ekuiper("default")
    assert source["TOPIC"] == "edgex/rules-events"
    assert "MESSAGETYPE" not in source, "an application service passes events on, which is the default"

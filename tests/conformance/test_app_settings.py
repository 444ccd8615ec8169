"""The settings of an application service: the checklist's points 3 to 5, 7 to 10, 14 to 16 and 78.

The same tests run against the stand-in and against EdgeX's own services.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conformance.app_process import METER, App, OpenApp, Stage
from tests.conformance.keys import delete, key_url, put, value
from tests.conformance.peers import WAIT, Bus, Core, short, until

pytestmark = pytest.mark.timeout(120)
checklist = pytest.mark.checklist
COMMON = "core-common-config-bootstrapper"


def config(app: App) -> dict[str, Any]:
    tree: dict[str, Any] = requests.get(f"{app.url}/api/v3/config", timeout=WAIT).json()["config"]
    return tree


@checklist(3, 5)
def test_config_holds_the_sections_as_edgex_spells_them(app: App) -> None:
    body = requests.get(f"{app.url}/api/v3/config", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", app.key)
    assert {"Writable", "Service", "MessageBus", "Clients", "Trigger", "Inference"} <= set(body["config"])
    assert body["config"]["Trigger"]["SubscribeTopics"] == "frames/#, events/#"


@checklist(4, 5)
def test_a_secret_is_stored_and_never_shown(app: App, core: Core) -> None:
    body = {"apiVersion": "v3", "secretName": "camera", "secretData": [{"key": "password", "value": "hunter2-hidden"}]}
    answer = requests.post(f"{app.url}/api/v3/secret", json=body, timeout=WAIT)
    assert (answer.status_code, answer.json()["statusCode"], answer.json()["apiVersion"]) == (201, 201, "v3")
    place = f"{app.key}/Writable/InsecureSecrets/camera/SecretData/password"
    until(lambda: value(core, place) == "hunter2-hidden", "it is kept")
    until(lambda: "InsecureSecrets" in config(app)["Writable"], "the service knows it")
    assert "hunter2-hidden" not in requests.get(f"{app.url}/api/v3/config", timeout=WAIT).text
    assert not app.said("hunter2-hidden")
    for wrong in ({**body, "secretName": ""}, {**body, "secretData": []}, {"apiVersion": "v3"}):
        refused = requests.post(f"{app.url}/api/v3/secret", json=wrong, timeout=WAIT)
        assert (refused.status_code, refused.json()["apiVersion"]) == (400, "v3")


@checklist(7)
def test_the_start_waits_until_the_common_configuration_is_ready(open_app: OpenApp, core: Core) -> None:
    ready = f"{COMMON}/IsCommonConfigReady"
    name = f"early-{short()}"
    put(core, ready, "false")
    try:
        with open_app(name, wait=False, EDGEX_STARTUP_DURATION="2") as late:
            assert late.process.wait(20) == 1
            assert late.said("level=ERROR", "gave up after 2 s")
        with open_app(name, wait=False) as early:
            until(lambda: early.said("waiting for core-keeper"), "it waits", 20)
            put(core, ready, "true")
            until(lambda: early.said("started on port"), "it goes on", 20)
    finally:
        put(core, ready, "true")


@checklist(8)
def test_private_settings_go_before_those_of_app_services_before_those_of_all(open_app: OpenApp, core: Core) -> None:
    name, tags = f"layers-{short()}", "Writable/Telemetry/Tags"
    layers = {f"{COMMON}/all-services": "abc", f"{COMMON}/app-services": "bc", f"app-{name}": "c"}
    try:
        for layer, letters in layers.items():
            for letter in letters:
                put(core, f"{layer}/{tags}/conformance-{letter}", layer)
        with open_app(name) as app:
            found = config(app)["Writable"]["Telemetry"]["Tags"]
            assert [found[f"conformance-{letter}"] for letter in "abc"] == list(layers)
    finally:
        for layer, letters in layers.items():
            for letter in letters:
                delete(core, f"{layer}/{tags}/conformance-{letter}")


@checklist(9, 10)
def test_settings_are_stored_once_and_then_core_keepers_word_counts(open_app: OpenApp, core: Core) -> None:
    name = f"stored-{short()}"
    key, rate, age = f"app-{name}", "Writable/Pipelines/lamps/Rate", "Inference/MaxFrameAge"
    rated = {"Writable": {"Pipelines": {"lamps": {**METER, "Rate": 4}}}}
    put(core, f"{key}/{age}", "33s")  # somebody's choice before the first start
    with _kept(open_app, core, name, sections=rated, WRITABLE_PIPELINES_LAMPS_RATE="7") as first:
        assert (value(core, f"{key}/{rate}"), value(core, f"{key}/{age}")) == ("7", "33s")
        assert config(first)["Inference"]["MaxFrameAge"] == "33s"
    with _kept(open_app, core, name, sections=rated, WRITABLE_PIPELINES_LAMPS_RATE="9") as second:
        assert value(core, f"{key}/{rate}") == "7"
        assert config(second)["Writable"]["Pipelines"]["lamps"]["Rate"] == "7"
    with open_app(name, "-o", sections=rated, WRITABLE_PIPELINES_LAMPS_RATE="9"):
        assert (value(core, f"{key}/{rate}"), value(core, f"{key}/{age}")) == ("9", "0s")


@contextlib.contextmanager
def _kept(open_app: OpenApp, core: Core, name: str, **rest: Any) -> Iterator[App]:
    """An app whose keys stay in core-keeper after it."""
    with contextlib.ExitStack() as stack:
        app = stack.enter_context(open_app(name, **rest))
        yield app
        answer = requests.get(key_url(core, app.key), params={"plaintext": "true"}, timeout=WAIT).json()["response"]
    for pair in answer:
        put(core, pair["key"].removeprefix("edgex/v4/"), pair["value"])


@checklist(14)
def test_the_log_level_follows_core_keeper(app: App, core: Core) -> None:
    put(core, f"{app.key}/Writable/LogLevel", "DEBUG")
    until(lambda: config(app)["Writable"]["LogLevel"] == "DEBUG", "the level is DEBUG")
    put(core, f"{app.key}/Writable/LogLevel", "INFO")
    until(lambda: config(app)["Writable"]["LogLevel"] == "INFO", "the level is INFO again")


@checklist(15)
def test_a_common_setting_that_is_set_privately_is_none_of_its_business(app: App, core: Core) -> None:
    common = f"{COMMON}/all-services/Writable/LogLevel"
    try:
        put(core, common, "ERROR")
        time.sleep(0.5)
        assert config(app)["Writable"]["LogLevel"] == "INFO"
        put(core, f"{COMMON}/all-services/Writable/Telemetry/Tags/conformance-d", "common")  # while others are
        until(lambda: config(app)["Writable"]["Telemetry"].get("Tags", {}).get("conformance-d"), "the tag")
        assert config(app)["Writable"]["LogLevel"] == "INFO"
    finally:
        delete(core, common)
        delete(core, f"{COMMON}/all-services/Writable/Telemetry/Tags/conformance-d")


@checklist(16)
def test_a_change_message_that_core_keeper_does_not_confirm_changes_nothing(app: App, core: Core, bus: Bus) -> None:
    key = f"edgex/v4/{app.key}/Writable/LogLevel"
    stale = {"key": key, "Created": 0, "Modified": 0, "value": "ERROR"}
    bus.publish(f"edgex/configs/{key}", {"apiVersion": "v3", "contentType": "application/json", "payload": stale})
    time.sleep(0.5)
    assert config(app)["Writable"]["LogLevel"] == "INFO"
    assert value(core, f"{app.key}/Writable/LogLevel") == "INFO"


@checklist(78)
def test_a_change_of_its_pipelines_in_core_keeper_takes_effect(app: App, core: Core, app_stage: Stage) -> None:
    place = f"{app.key}/Writable/Pipelines/more"
    try:
        put(core, f"{place}/Model", "meter")
        until(lambda: app_stage.show("changing") and app_stage.of("changing", "more"), "the new pipeline answers")
        put(core, f"{place}/Labels", "nothing")
        until(
            lambda: app_stage.show("changing") and not app_stage.of("changing", "more")[-1].said["objects"],
            "without lamps",
        )
    finally:
        delete(core, place)
    until(lambda: "more" not in app.status()["pipelines"], "it is gone")

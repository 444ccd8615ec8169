"""`edgex-models` with a running app-inference and core."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import requests
from app_inference.models.importer import Wanted, add
from app_inference.models.repository import Repository
from edgex_standin.address import free_port
from openvino import opset13 as op

from tests.app.cli_rig import Command
from tests.conformance.peers import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
LABELS = "blue green red"
READY = PATIENCE = 60.0  # seconds
WAIT = ("--wait", "--timeout", "40")


@dataclass(frozen=True)
class Running:
    """A core, an app-inference with one pipeline on model `gauge`, and the command line for them."""

    url: str
    keeper: str
    run: Command

    def shown(self) -> Any:
        """The line of `watch` for the model."""
        return self.run.json("watch", "gauge", "--seconds", "0.1")


def gauge(path: Path, labels: str, weight: float = 1.0) -> Path:
    """A classifier of colours, quick to compile."""
    picture = op.parameter([1, 3, 32, 32], np.float32, name="picture")
    logits = op.multiply(op.reduce_mean(picture, np.array([2, 3])), np.float32(weight))
    model = ov.Model([op.result(logits)], [picture], "gauge")
    for key, value in {"model_type": "Classification", "labels": labels, "license": "MIT"}.items():
        model.set_rt_info(value, ["model_info", key])
    path.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, path, compress_to_fp16=False)
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, open_standin: Callable[..., Any]) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("running")
    add(Repository(folder / "models"), Wanted(gauge(folder / "first" / "gauge.xml", LABELS), version="1.0.0"))
    with open_standin("--state=:memory:") as edgex:
        port = free_port("127.0.0.1")
        environment = {
            "EDGEX_SECURITY_SECRET_STORE": "false", "SERVICE_PORT": str(port), "SERVICE_HOST": "127.0.0.1",
            "MESSAGEBUS_HOST": edgex.broker.host, "MESSAGEBUS_PORT": str(edgex.broker.port),
            "CLIENTS_CORE_METADATA_PORT": edgex.metadata.rpartition(":")[2],
            "INFERENCE_MODELSDIR": str(folder / "models"), "INFERENCE_STREAMS": "1",
            "WRITABLE_PIPELINES_DEFAULT_MODEL": "gauge",
        }  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app_inference", f"-cp={edgex.provider}", "-r"],
                env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _until_ready(url, process, folder / "log")
            for version, labels, weight in (("1.1.0", LABELS, 1.01), ("2.0.0", "red green blue", 1.0)):
                path = gauge(folder / f"v{version}" / "gauge.xml", labels, weight)
                add(Repository(folder / "models"), Wanted(path, version=version))
            command = Command(folder / "models", models=url, keeper=edgex.keeper, command=edgex.command)
            yield Running(url, edgex.keeper, command)
        finally:
            process.terminate()
            process.wait(20)


def _until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            pipelines = requests.get(f"{url}/api/v3/vision/status", timeout=2).json()["pipelineStates"]
            if "preparing" not in {it["state"] for it in pipelines.values()}:
                return
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_versions_on_disk_are_listed_with_their_roles(running: Running) -> None:
    rows = {row["version"]: row["state"] for row in running.run.json("list")}
    assert rows == {"1.0.0": "serving", "1.1.0": "", "2.0.0": ""}


@pytest.mark.goal(50)
def test_a_plan_shows_what_would_change_and_changes_nothing(running: Running) -> None:
    before = running.run.json("list")
    plan = running.run.json("plan", "gauge@2.0.0", "--no-measure")
    assert (plan["from"], plan["to"]) == ("1.0.0", "2.0.0")
    assert plan["steps"][:4] == ["RESOLVE", "VERIFY", "LOAD", "SELFTEST"]
    assert [(it["key"], it["holdsTheUpdate"]) for it in plan["changes"]] == [("labels", True)]
    assert running.run.json("list") == before


@pytest.mark.goal(7)
def test_a_version_that_does_not_fit_is_refused_and_quarantined(running: Running) -> None:
    reason = "label 0 is 'red', 'blue' is expected"
    outcome = running.run.json("deploy", "gauge@2.0.0", *WAIT, code=1)
    assert outcome["outcome"] == "was refused"
    assert reason in outcome["reason"]
    assert reason in running.run("watch", "gauge", "--seconds", "0.1").stdout
    before = running.shown()
    for words in (("gauge@2.0.0",), ("gauge@latest", "--wait"), ("gauge@2.0.0", "--via", "command")):
        refused = running.run("deploy", *words, code=1)
        assert refused.stdout == ""
        assert all(text in refused.stderr for text in ("gauge@2.0.0 is quarantined", reason, "--retry"))
    assert running.shown() == before, "nothing was requested"
    retried = running.run.json("deploy", "gauge@2.0.0", "--retry", *WAIT, code=1)
    assert reason in retried["reason"]


@pytest.mark.goal(50)
def test_a_version_is_deployed_promoted_watched_and_rolled_back(running: Running) -> None:
    running.run("deploy", "gauge@2.0.0", *WAIT, code=1)  # its quarantine stays on record
    plan = running.run.json("plan", "gauge@1.1.0", "--no-measure")
    requested = running.run.json("deploy", "gauge@1.1.0", "--min-frames", "1", "--hold", "0")
    assert requested["request"]["askedBy"] == "edgex-models"
    seen = states_until(running, "OBSERVE")
    observed = running.shown()
    assert (observed["active"]["version"], observed["previous"]["version"]) == ("1.1.0", "1.0.0")
    running.run("promote", "gauge")
    seen += states_until(running, "IDLE")
    assert [step for step in plan["steps"] if step in seen] == seen, "the plan is what happens, in its order"
    back = running.run.json("rollback", "gauge", *WAIT)
    assert (back["outcome"], back["version"]) == ("serves", "1.0.0")
    listed = {row["version"]: row["state"] for row in running.run.json("list")}
    assert (listed["1.0.0"], listed["1.1.0"]) == ("serving", "previous")
    assert "label 0 is 'red'" in listed["2.0.0"]
    line = running.run("watch", "gauge", "--seconds", "0.1").stdout
    assert line.startswith("gauge IDLE  serves: 1.0.0")
    assert "quarantined: 2.0.0" in line


def test_a_deployment_goes_through_core_command_too(running: Running) -> None:
    assert running.run.json("deploy", "gauge@1.0.0", "--via", "command", *WAIT)["outcome"] == "serves"
    refused = running.run("deploy", "nobody@1.0.0", "--via", "command", code=1)
    assert "model-app-inference-nobody" in refused.stderr


def test_a_request_for_an_unknown_model_waits_and_is_reported(running: Running) -> None:
    assert "'unheard'" in running.run("deploy", "unheard@1.0.0").stderr


@pytest.mark.goal(3, 7)
def test_a_version_that_does_not_exist_is_refused_at_once(running: Running) -> None:
    before = running.shown()
    for words in (("deploy", "gauge@9.9.9"), ("deploy", "gauge@^9.0.0"), ("rollback", "gauge", "--to", "9.9.9")):
        refused = running.run(*words, code=1)
        assert refused.stdout == ""
        assert "there are 2.0.0, 1.1.0, 1.0.0" in refused.stderr
    assert "there are latest" in running.run("deploy", "gauge@steady", code=1).stderr
    assert running.shown() == before, "nothing was requested"


def test_a_version_is_requested_unchecked_where_only_core_keeper_answers(running: Running) -> None:
    assert "gauge@9.9.9 is not in " in running.run("deploy", "gauge@9.9.9", "--command-url", nobody()).stderr
    assert running.run.json("deploy", "gauge@1.0.0", *WAIT)["outcome"] == "serves"


@pytest.mark.goal(3)
def test_an_alias_is_deployed_and_not_deleted_while_it_is_requested(running: Running) -> None:
    running.run("alias", "gauge@1.0.0", "stable")
    assert running.run.json("deploy", "gauge@stable")["request"]["version"] == "stable"
    refused = running.run("alias", "gauge", "stable", "--delete", code=1)
    assert refused.stdout == ""
    assert "requested" in refused.stderr
    assert running.run.json("deploy", "gauge@>=1.0.0 <1.1.0")["request"]["version"] == ">=1.0.0 <1.1.0"
    for words in ("gauge@stable", "gauge@~1.0.0"):
        done = running.run("deploy", words, "--wait", "--timeout", "10")
        assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "gauge@1.0.0 serves"), "it did already"
    assert running.run("alias", "gauge", "stable", "--delete").stderr == ""


def test_a_request_for_an_alias_or_a_range_is_followed_until_the_version_serves(running: Running) -> None:
    running.run("alias", "gauge@1.0.0", "steady")
    for wanted, meant in (("~1.1.0", "1.1.0"), ("steady", "1.0.0")):
        with started(running, "deploy", f"gauge@{wanted}", *WAIT, "--json") as deploying:
            states_until(running, "OBSERVE")
            running.run("promote", "gauge")
            outcome = json.loads(deploying.communicate(timeout=50)[0])
        assert (deploying.returncode, outcome["outcome"], outcome["version"]) == (0, "serves", meant)
    running.run("deploy", "gauge@1.0.0")  # the alias is free again
    running.run("alias", "gauge", "steady", "--delete")


def test_an_alias_is_not_deleted_while_a_pipeline_names_it(running: Running) -> None:
    running.run("alias", "gauge@1.0.0", "held")
    key = f"{running.keeper}/api/v3/kvs/key/edgex/v4/app-inference/Writable/Pipelines/Held"
    for name, value in (("Enabled", "false"), ("Model", "gauge@held")):
        requests.put(f"{key}/{name}", json={"value": value}, timeout=5).raise_for_status()
    status = f"{running.url}/api/v3/vision/status"
    until(lambda: "Held" in requests.get(status, timeout=5).json()["pipelines"], "the pipeline is in force", PATIENCE)
    assert "pipeline 'Held'" in running.run("alias", "gauge", "held", "--delete", code=1).stderr


def test_a_version_in_use_is_not_removed(running: Running) -> None:
    assert "gauge@1.0.0 is in use" in running.run("remove", "gauge@1.0.0", code=1).stderr


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("deploy", "gauge@1.0.0"), "--keeper-url"),
        (("rollback", "gauge"), "--keeper-url"),
        (("watch",), "--keeper-url"),
        (("plan", "gauge"), "--url"),
    ],
)
def test_a_service_that_does_not_answer_is_exit_code_3(running: Running, words: tuple[str, ...], option: str) -> None:
    assert running.run(*words, option, nobody(), code=3).stderr.startswith("edgex-models: ")


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "words",
    [("deploy", "gauge@1.0.0"), ("rollback", "gauge"), ("promote", "gauge"), ("pause", "gauge"), ("watch",)],
)
def test_a_misspelt_service_is_refused_and_nothing_is_written(running: Running, words: tuple[str, ...]) -> None:
    refused = running.run(*words, "--service", "app-infernce", code=1)
    assert (refused.stdout, "'app-inference'" in refused.stderr) == ("", True)
    key = f"{running.keeper}/api/v3/kvs/key/edgex/v4/app-infernce"
    assert requests.get(key, timeout=5).status_code == 404


def test_another_service_is_not_taken_for_app_inference(running: Running) -> None:
    running.run("plan", "gauge", "--url", running.keeper, code=3)
    running.run("list", "--url", nobody())


def test_a_rollout_is_paused(running: Running) -> None:
    for words in (("gauge",), ("gauge", "--off")):
        running.run("pause", *words)
    running.run("pause", "nobody", code=1)


def nobody() -> str:
    """An address where no service answers."""
    return f"http://127.0.0.1:{free_port('127.0.0.1')}"


@contextlib.contextmanager
def started(running: Running, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """The command in a process of its own."""
    command = [sys.executable, "-m", "app_inference.cli", *words]
    environment = {**os.environ, **running.run.environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process


def states_until(running: Running, wanted: str) -> list[str]:
    """The states `watch` shows, up to `wanted`."""
    seen: list[str] = []
    with started(running, "watch", "gauge", "--json", "--seconds", str(PATIENCE)) as watching:
        for line in watching.stdout or ():
            report = json.loads(line)
            if report["state"] != "IDLE" or seen or wanted == "IDLE":
                seen.append(report["state"])
            if report["state"] == wanted:
                watching.kill()
    return list(dict.fromkeys(seen))

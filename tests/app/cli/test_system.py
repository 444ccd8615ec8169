"""`edgex-models` against an app-inference and a core that run."""

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
from app_inference.cli.app import app
from app_inference.models.importer import Wanted, add
from app_inference.models.repository import Repository
from click.testing import Result
from edgex_standin.address import free_port
from openvino import opset13 as op
from typer.testing import CliRunner

pytestmark = pytest.mark.timeout(180)
LABELS = "blue green red"
READY, PATIENCE = 60.0, 60.0  # seconds


@dataclass(frozen=True)
class Running:
    """A core, an app-inference with one pipeline on model `gauge`, and its models."""

    folder: Path
    url: str
    keeper: str
    command: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "EDGEX_MODELS_URL": self.url,
            "EDGEX_KEEPER_URL": self.keeper,
            "EDGEX_COMMAND_URL": self.command,
            "INFERENCE_MODELSDIR": str(self.folder / "models"),
        }

    def models(self, *args: str) -> Result:
        """`edgex-models` with these words, in this process."""
        return CliRunner().invoke(app, list(args), env=self.environment)

    def said(self, *args: str, code: int = 0) -> Any:
        """What it says with --json."""
        done = self.models(*args, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)


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
            yield Running(folder, url, edgex.keeper, edgex.command)
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


def test_what_is_on_disk_and_what_serves_is_listed(running: Running) -> None:
    rows = {row["version"]: row["state"] for row in running.said("list")}
    assert rows == {"1.0.0": "serving", "1.1.0": "", "2.0.0": ""}


@pytest.mark.goal(50)
def test_a_plan_says_what_would_change_and_changes_nothing(running: Running) -> None:
    before = running.said("list")
    plan = running.said("plan", "gauge@2.0.0", "--no-measure")
    assert (plan["from"], plan["to"]) == ("1.0.0", "2.0.0")
    assert plan["steps"][:4] == ["RESOLVE", "VERIFY", "LOAD", "SELFTEST"]
    assert [(it["key"], it["holdsTheUpdate"]) for it in plan["changes"]] == [("labels", True)]
    assert running.said("list") == before


@pytest.mark.goal(7)
def test_a_version_that_does_not_fit_is_refused_with_the_reason_and_exit_code_1(running: Running) -> None:
    outcome = running.said("deploy", "gauge@2.0.0", "--wait", "--timeout", "40", code=1)
    assert outcome["outcome"] == "was refused"
    assert "label 0 is 'red', 'blue' is expected" in outcome["reason"]
    why = running.models("watch", "gauge", "--seconds", "0.1").stdout.partition("why: ")[2]
    assert why.startswith("2.0.0: ")


@pytest.mark.goal(7)
def test_a_quarantined_version_is_refused_at_once_with_the_reason_unless_it_is_retried(running: Running) -> None:
    running.models("deploy", "gauge@2.0.0", "--wait", "--timeout", "40")
    before = running.said("watch", "gauge", "--seconds", "0.1")
    for words in (("gauge@2.0.0",), ("gauge@latest", "--wait"), ("gauge@2.0.0", "--via", "command")):
        refused = running.models("deploy", *words)
        assert (refused.exit_code, refused.stdout) == (1, ""), words
        assert refused.stderr.count("gauge@2.0.0 is quarantined: ") == 1
        assert "label 0 is 'red', 'blue' is expected" in refused.stderr
        assert "--retry tries it again" in refused.stderr
    assert running.said("watch", "gauge", "--seconds", "0.1") == before, "nothing was wished"
    retried = running.said("deploy", "gauge@2.0.0", "--retry", "--wait", "--timeout", "40", code=1)
    assert "does not fit" in retried["reason"]


@pytest.mark.goal(50)
def test_a_version_is_deployed_promoted_watched_and_taken_back(running: Running) -> None:
    assert running.models("deploy", "gauge@2.0.0", "--wait", "--timeout", "40").exit_code == 1  # it is on record as bad
    plan = running.said("plan", "gauge@1.1.0", "--no-measure")
    wished = running.said("deploy", "gauge@1.1.0", "--min-frames", "1", "--hold", "0")
    assert wished["wish"]["askedBy"] == "edgex-models"
    seen = states_until(running, "OBSERVE")
    observed = running.said("watch", "gauge", "--seconds", "0.1")
    assert (observed["active"]["version"], observed["previous"]["version"]) == ("1.1.0", "1.0.0")
    assert running.models("promote", "gauge").exit_code == 0
    seen += states_until(running, "IDLE")
    assert [step for step in plan["steps"] if step in seen] == seen, "the plan is what happens, in its order"
    back = running.said("rollback", "gauge", "--wait", "--timeout", "40")
    assert (back["outcome"], back["version"]) == ("serves", "1.0.0")
    listed = {row["version"]: row["state"] for row in running.said("list")}
    assert (listed["1.0.0"], listed["1.1.0"]) == ("serving", "previous")
    assert listed["2.0.0"].startswith("quarantined: gauge@2.0.0 does not fit: label 0"), "the reason outlives the rest"
    line = running.models("watch", "gauge", "--seconds", "0.1").stdout
    assert line.startswith("gauge IDLE  serves: 1.0.0")
    assert "quarantined: 2.0.0" in line


def test_a_deployment_goes_through_core_command_too(running: Running) -> None:
    outcome = running.said("deploy", "gauge@1.0.0", "--via", "command", "--wait", "--timeout", "40")
    assert outcome["outcome"] == "serves"
    refused = running.models("deploy", "nobody@1.0.0", "--via", "command")
    assert refused.exit_code == 1
    assert "model-app-inference-nobody" in refused.stderr


def test_a_wish_for_a_model_nobody_has_heard_of_is_kept_and_says_so(running: Running) -> None:
    wished = running.models("deploy", "unheard@1.0.0")
    assert wished.exit_code == 0
    assert "has reported nothing on a model 'unheard'" in wished.stderr


@pytest.mark.goal(3, 7)
def test_a_version_that_is_nowhere_is_refused_at_once_with_those_there_are(running: Running) -> None:
    before = running.said("watch", "gauge", "--seconds", "0.1")
    for words in (("deploy", "gauge@9.9.9"), ("deploy", "gauge@^9.0.0"), ("rollback", "gauge", "--to", "9.9.9")):
        refused = running.models(*words)
        assert (refused.exit_code, refused.stdout) == (1, ""), words
        assert "model 'gauge' of app-inference: no version" in refused.stderr
        assert "there are 2.0.0, 1.1.0, 1.0.0" in refused.stderr
        assert "all is well" not in refused.stderr
    assert "no alias 'steady'; there are latest" in running.models("deploy", "gauge@steady").stderr
    assert running.said("watch", "gauge", "--seconds", "0.1") == before, "nothing was wished"


def test_a_version_is_wished_unseen_where_only_core_keeper_answers(running: Running) -> None:
    nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    wished = running.models("deploy", "gauge@9.9.9", "--command-url", nobody)
    assert wished.exit_code == 0
    assert "gauge@9.9.9 is not in " in wished.stderr
    assert running.said("deploy", "gauge@1.0.0", "--wait", "--timeout", "40")["outcome"] == "serves"


@pytest.mark.goal(3)
def test_an_alias_is_deployed_and_not_deleted_while_it_is_wished(running: Running) -> None:
    assert running.models("alias", "gauge@1.0.0", "stable").exit_code == 0
    assert running.said("deploy", "gauge@stable")["wish"]["version"] == "stable"
    refused = running.models("alias", "gauge", "stable", "--delete")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "gauge@stable is in use: it is wished, `edgex-models deploy gauge@1.2.3` wishes" in refused.stderr
    assert running.said("deploy", "gauge@>=1.0.0 <1.1.0")["wish"]["version"] == ">=1.0.0 <1.1.0"
    for words in ("gauge@stable", "gauge@~1.0.0"):
        there = running.models("deploy", words, "--wait", "--timeout", "10")
        assert (there.exit_code, there.stderr) == (0, ""), there.output
        assert there.stdout.endswith("gauge@1.0.0 serves\n"), "it did already"
    deleted = running.models("alias", "gauge", "stable", "--delete")
    assert (deleted.exit_code, deleted.stderr) == (0, "")


def test_a_wish_for_an_alias_or_a_range_is_followed_until_the_version_that_it_means_serves(running: Running) -> None:
    assert running.models("alias", "gauge@1.0.0", "steady").exit_code == 0
    for wanted, meant in (("~1.1.0", "1.1.0"), ("steady", "1.0.0")):
        words = ("deploy", f"gauge@{wanted}", "--wait", "--timeout", "40", "--json")
        with subprocess.Popen(
            [sys.executable, "-m", "app_inference.cli", *words], stdout=subprocess.PIPE, text=True,
            env={**os.environ, **running.environment},
        ) as deploying:  # fmt: skip
            states_until(running, "OBSERVE")
            assert running.models("promote", "gauge").exit_code == 0
            outcome = json.loads(deploying.communicate(timeout=50)[0])
        assert (deploying.returncode, outcome["outcome"], outcome["version"]) == (0, "serves", meant)
    assert running.models("deploy", "gauge@1.0.0").exit_code == 0  # the alias is free again
    assert running.models("alias", "gauge", "steady", "--delete").exit_code == 0


def test_an_alias_is_not_deleted_while_a_pipeline_names_it(running: Running) -> None:
    assert running.models("alias", "gauge@1.0.0", "held").exit_code == 0
    key = f"{running.keeper}/api/v3/kvs/key/edgex/v4/app-inference/Writable/Pipelines/Held"
    for name, value in (("Enabled", "false"), ("Model", "gauge@held")):
        requests.put(f"{key}/{name}", json={"value": value}, timeout=5).raise_for_status()
    deadline = time.monotonic() + PATIENCE
    while "Held" not in requests.get(f"{running.url}/api/v3/vision/status", timeout=5).json()["pipelines"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused = running.models("alias", "gauge", "held", "--delete")
    assert refused.exit_code == 1
    assert "gauge@held is in use: pipeline 'Held' names it" in refused.stderr


def test_a_version_in_use_is_not_removed(running: Running) -> None:
    refused = running.models("remove", "gauge@1.0.0")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "gauge@1.0.0 is in use" in refused.stderr


def test_who_does_not_answer_is_said_with_exit_code_3(running: Running) -> None:
    nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    for words in (
        ("deploy", "gauge@1.0.0", "--keeper-url", nobody),
        ("rollback", "gauge", "--keeper-url", nobody),
        ("watch", "--keeper-url", nobody),
        ("plan", "gauge", "--url", nobody),
        ("plan", "gauge", "--url", running.keeper),
    ):
        done = running.models(*words)
        assert done.exit_code == 3, (words, done.stdout, done.stderr)
        assert done.stderr.startswith("edgex-models: ")
    assert running.models("list", "--url", nobody).exit_code == 0


def test_a_pause_is_wished(running: Running) -> None:
    assert running.models("pause", "gauge").exit_code == 0
    assert running.models("pause", "gauge", "--off").stdout == "gauge: goes on\n"
    assert running.models("pause", "nobody").exit_code == 1


def states_until(running: Running, wanted: str) -> list[str]:
    """The states `watch` shows, up to `wanted`."""
    environment = {**os.environ, **running.environment}
    command = [sys.executable, "-m", "app_inference.cli", "watch", "gauge", "--json", "--seconds", str(PATIENCE)]
    seen: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        for line in watching.stdout or ():
            report = json.loads(line)
            if report["state"] != "IDLE" or seen or wanted == "IDLE":
                seen.append(report["state"])
            if report["state"] == wanted:
                watching.kill()
    return list(dict.fromkeys(seen))

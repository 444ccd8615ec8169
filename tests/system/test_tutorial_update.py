"""The tutorial's commands on a `make run`: a good version stays, bad ones are rolled back, and no frame is lost.

Ten frames a second instead of thirty, shorter observation and other ports; the rest is as in the page.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import requests
from app_inference.errors import ModelUnavailable

from demo.options import CACHE, ROOT, Ports
from demo.samples import SAMPLES, sample_model, sample_video

PAGE = ROOT / "docs" / "tutorials" / "update-a-model.md"
MODEL = SAMPLES["driver"].model
CAMERAS = 4
WAIT = 60.0  # seconds that any step may take on a busy machine
OBSERVED = {"minFrames": 40, "holdSeconds": 2}  # committed sooner than the page's 30 s
WATCHED = {"minFrames": 4000, "holdSeconds": 60}  # a bad one has enough time to show it

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Tutorial:
    """The run of the page's first command, and a shell for the others."""

    ports: Ports
    shift: int
    folder: Path

    @property
    def models(self) -> Path:
        return self.folder.parent / "models"

    @property
    def folders(self) -> list[str]:
        return ["--folder", str(self.folder), "--models", str(self.models)]

    def say(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Type a command of the page."""
        return subprocess.run(
            ["bash", "-c", self.here(command)],
            capture_output=True, text=True, timeout=WAIT, cwd=ROOT, env=self.environment, check=False,
        )  # fmt: skip

    def here(self, command: str) -> str:
        """It, with this run's folder and ports."""
        python = shlex.quote(sys.executable)
        typed = command.replace("localhost:59882", f"localhost:{self.ports.command}")
        typed = typed.replace("run/versions", str(self.folder / "versions"))
        typed = re.sub(r"^edgex-models", f"{python} -m app_inference.cli", typed)
        folders = f"--models {self.models} --folder {self.folder / 'versions'}"
        programs = {
            "versions": f"{python} -m examples.tutorial.versions {folders}",
            "audit": f"exec {python} -m examples.tutorial.audit --json --port-shift {self.shift}",
        }
        return re.sub(r"^python -m examples.tutorial.(\w+)", lambda it: programs[it[1]], typed)

    @property
    def environment(self) -> dict[str, str]:
        keeper = f"http://localhost:{self.ports.keeper}"
        return {**os.environ, "INFERENCE_MODELSDIR": str(self.models), "EDGEX_KEEPER_URL": keeper}

    def model(self) -> dict[str, Any]:
        """Its reported state; empty before its first update."""
        status = requests.get(f"http://localhost:{self.ports.inference}/api/v3/vision/status", timeout=10).json()
        row = next((it for it in status["models"] if it.get("model") == MODEL), {})
        return {
            "serves": row.get("version"),
            "cameras": status["cameras"],
            **status["updates"]["models"].get(MODEL, {}),
        }

    def deploy(self, version: str, observe: dict[str, int]) -> None:
        """The page's command, with a whole request instead of a version; latency means nothing on a busy machine."""
        command = command_with(f'"Deploy": "{version}"')
        request = json.dumps(
            {"Deploy": json.dumps({"version": version, "observe": observe, "gate": {"maxP99Ratio": 1000}})}
        )
        answer = self.say(command.replace(f'{{"Deploy": "{version}"}}', request))
        assert json.loads(answer.stdout)["statusCode"] == 200, answer


def commands() -> list[str]:
    """The commands of the page, in order."""
    lines = [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    return [line for line in lines if re.match(r"(\. |export|make|python|edgex-models |curl)", line)]


def command_with(words: str) -> str:
    """The first of them that holds `words`."""
    return next(it for it in commands() if words in it)


def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not check():
        assert time.monotonic() < deadline, f"not within {WAIT:g} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Downloaded, or the test is skipped."""
    try:
        sample_model(SAMPLES["driver"], CACHE, tmp_path_factory.mktemp("models"))
        sample_video(SAMPLES["driver"], CACHE)
    except ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def tutorial(samples: None, tmp_path: Path) -> Iterator[Tutorial]:
    """`make run` as the page starts it, slower."""
    shift = _free_shift()
    page = dict(part.split("=") for part in command_with("make run").split()[2:])
    assert page == {"SAMPLE": "driver", "CAMERAS": str(CAMERAS), "FPS": "30"}
    options = ["--sample", "driver", "--cameras", page["CAMERAS"], "--fps", "10", "--port-shift", str(shift)]
    tutorial = Tutorial(Ports().shifted(shift), shift, tmp_path / "run")
    with (
        (tmp_path / "demo.log").open("wb") as log,
        _ending([sys.executable, "-m", "demo", *options, *tutorial.folders], stdout=log) as run,
    ):

        def streams() -> bool:
            assert run.poll() is None, (tmp_path / "demo.log").read_text()
            with contextlib.suppress(requests.RequestException):
                return [it["resultsPerSecond"] > 0 for it in tutorial.model()["cameras"]] == [True] * CAMERAS
            return False

        until(streams, "four cameras stream")
        yield tutorial


def test_a_good_version_stays_and_bad_ones_are_rolled_back_while_every_frame_has_its_result(tutorial: Tutorial) -> None:
    made = tutorial.say(command_with("examples.tutorial.versions"))
    assert made.returncode == 0, made.stderr
    with _ending(
        ["bash", "-c", tutorial.here(command_with("examples.tutorial.audit"))], stdout=subprocess.PIPE
    ) as audit:
        assert tutorial.say(command_with("add run/versions/0.7.0")).returncode == 0
        tutorial.deploy("0.7.0", OBSERVED)
        until(lambda: _is_committed(tutorial.model(), "0.7.0"), "0.7.0 is committed")

        refused = tutorial.say(command_with("add run/versions/0.8.0"))
        assert refused.returncode == 1
        assert "golden/driver.png: face" in refused.stderr

        assert tutorial.say(command_with("add run/versions/0.8.1")).returncode == 0
        tutorial.deploy("0.8.1", WATCHED)
        until(lambda: _is_rolled_back(tutorial.model(), "0.8.1"), "0.8.1 is rolled back")
        assert "minAgreement" in tutorial.model()["reason"]

        assert tutorial.say(command_with("add run/versions/0.9.0")).returncode == 0
        tutorial.deploy("0.9.0", WATCHED)
        until(lambda: _is_rolled_back(tutorial.model(), "0.9.0"), "0.9.0 is rolled back")
        assert "minAgreement" in tutorial.model()["reason"]
        assert tutorial.model()["serves"] == "0.7.0"

        audit.send_signal(signal.SIGINT)
        lines = [json.loads(line) for line in audit.communicate(timeout=WAIT)[0].splitlines()]
    pages = [it for it in lines if "title" in it]
    assert {"0.7.0 is observed", "0.8.1 is observed", "0.9.0 is observed"} <= {it["title"] for it in pages}
    assert audit.returncode == 0, lines
    assert sum(it["versions"].get("0.9.0", 0) for it in pages) >= 200
    assert all(it["frames"] == it["results"] + it["dropped"] for it in pages), pages


def _is_committed(model: dict[str, Any], version: str) -> bool:
    return model["serves"] == version and model.get("state") == "IDLE"


def _is_rolled_back(model: dict[str, Any], version: str) -> bool:
    return version in model.get("quarantined", ()) and model.get("state") == "IDLE"


def _free_shift() -> int:
    """How far to shift the ports so that all of them are free."""
    for shift in range(1000, 5000, 37):
        if all(_is_free(getattr(Ports().shifted(shift), it.name)) for it in fields(Ports)):
            return shift
    pytest.skip("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _ending(command: list[str], stdout: Any) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)

"""OpenVINO's Python binding can deadlock when two threads use it for the first time at once: app-inference must not.

Every start is a fresh process with two workers, and finds frames already flowing. COLD_STARTS says how many.
"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from edgex_standin.address import Address

from tests.conformance.app_process import METER, App, Stage, configure, open_stage, run_app, save_meter
from tests.conformance.peers import until

STARTS = int(os.environ.get("COLD_STARTS", "5"))
STALL = 60  # seconds; a deadlock never ends, and a busy machine is no deadlock
CAMERAS = ("gate", "yard", "dock", "hall")

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.timeout(60 + 2 * STALL * STARTS),
]  # a stall is told before


@pytest.fixture
def stage(broker: Address, unique: str) -> Iterator[Stage]:
    """Four cameras of 25 frames a second, before, while and after a service starts."""
    over = threading.Event()
    with open_stage(broker.host, broker.port, unique) as stage:

        def film() -> None:
            for seq in itertools.count():
                for camera in CAMERAS:
                    stage.show(camera, seq=seq)
                if over.wait(0.04):
                    return

        filming = threading.Thread(target=film)
        filming.start()
        yield stage
        over.set()
        filming.join()


@contextlib.contextmanager
def _stacks_of_a_stall(app: App) -> Iterator[None]:
    """Where every thread of a service is that does not answer, and what it says of itself: into its log."""
    try:
        yield
    except AssertionError:
        with contextlib.suppress(requests.RequestException):
            print(app.status())  # noqa: T201 - pytest shows it when the test fails
        app.process.send_signal(signal.SIGABRT)
        app.process.wait(10)
        raise


def test_every_start_into_flowing_frames_with_two_workers_answers(
    broker: Address, stage: Stage, tmp_path: Path, unique: str
) -> None:
    save_meter(tmp_path / "models")
    bus = {"Host": broker.host, "Port": broker.port, "BaseTopicPrefix": unique}
    two = {"Workers": 2, "Streams": 2}
    configure(tmp_path, MessageBus=bus, Writable={"Pipelines": {"lamps": METER}}, Inference=two)
    took = []
    for start in range(STARTS):
        stage.told.clear()
        begin = time.monotonic()
        with run_app(tmp_path, "-s", PYTHONFAULTHANDLER="1") as app, _stacks_of_a_stall(app):
            until(lambda: {it.event["deviceName"] for it in list(stage.told)} >= set(CAMERAS), f"start {start}", STALL)
            took.append(time.monotonic() - begin)
            known = len(stage.told)
            until(lambda known=known: len(stage.told) > known + 20, f"start {start} goes on", STALL)
            app.process.terminate()
            assert app.process.wait(15) == 0
    print(f"{STARTS} starts, 0 stalls; first results after {min(took):.1f} to {max(took):.1f} s")  # noqa: T201

"""What core-data keeps for ever must not grow with every frame.

core-data 4.0 has a row of `device_info` and a cache entry for each (device, profile, source, tags) and resource, which
nothing deletes. EDGEX_DATABASE is the address of a real core-data's PostgreSQL; the stand-in counts as core-data does.
"""

import os
import subprocess
import time

import pytest
import requests

from tests.conformance.app_process import Stage
from tests.conformance.peers import WAIT, Core, Device, named_core, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.fault(1)]

FRAMES = 40
UNRELATED = 4  # rows that other devices of the gateway may add meanwhile


@pytest.fixture
def device_info(core: Core) -> "DeviceInfo":
    database = os.environ.get("EDGEX_DATABASE", "")
    if named_core() is not None and not database:
        pytest.skip("EDGEX_DATABASE names no PostgreSQL of core-data")
    return DeviceInfo(core, database)


class DeviceInfo:
    """The rows of core-data's table."""

    def __init__(self, core: Core, database: str) -> None:
        self._core = core
        self._database = database

    def count(self) -> int:
        if not self._database:
            url = f"{self._core.data}/api/v3/standin/deviceinfo/count"
            return int(requests.get(url, timeout=WAIT).json()["count"])
        query = "select count(*) from core_data.device_info"
        found = subprocess.run(["psql", self._database, "-Atc", query], check=True, capture_output=True, text=True)
        return int(found.stdout)


def stored(core: Core, device: str) -> int:
    answer = requests.get(f"{core.data}/api/v3/event/count/device/name/{device}", timeout=WAIT)
    return int(answer.json()["count"])


def test_results_of_many_frames_are_no_more_rows_than_one(
    core: Core, app_stage: Stage, unique: str, device_info: DeviceInfo
) -> None:
    def show(seq: int) -> None:
        app_stage.show(unique, light=100 + seq, seq=seq)
        until(lambda: len(app_stage.of(unique)) > seq and stored(core, unique) > seq, "its result is stored")

    show(0)
    before = device_info.count()
    for seq in range(1, FRAMES):
        show(seq)
    assert device_info.count() - before <= UNRELATED


def test_stored_snapshots_are_no_more_rows_than_one(
    core: Core, device: Device, camera: str, device_info: DeviceInfo
) -> None:
    def take() -> None:
        already = stored(core, camera)
        device.event(camera, "Frame", **{"ds-pushevent": "true"})
        until(lambda: stored(core, camera) > already, "it is stored")
        time.sleep(0.2)  # for another picture each

    take()
    before = device_info.count()
    for _ in range(10):
        take()
    assert device_info.count() - before <= UNRELATED

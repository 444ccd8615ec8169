"""Events that a device service makes by itself: the checklist's points 66 and 67.

The same tests run against the stand-in and, with EDGEX_CORE_KEEPER and its like, against EdgeX's own services.
"""

import time
import uuid

import pytest

from tests.conformance.peers import AddCamera, Bus, Device, Heard

checklist = pytest.mark.checklist


@checklist(66)
def test_auto_events_begin_after_an_interval_and_have_fresh_correlation_ids(
    device: Device, add_camera: AddCamera, bus: Bus
) -> None:
    with bus.listen(f"edgex/events/device/{device.service}/#") as ear:
        begin = time.monotonic()
        camera = add_camera(autoEvents=[{"interval": "700ms", "onChange": False, "sourceName": "Tuning"}])

        def is_ours(heard: Heard) -> bool:
            return heard.topic.endswith(f"/{camera}/Tuning")

        first, second, third = ear.next(is_ours), ear.next(is_ours), ear.next(is_ours)
    assert first.at - begin >= 0.7
    assert third.at - first.at == pytest.approx(1.4, abs=0.3)
    ids = {str(uuid.UUID(heard.envelope["correlationID"])) for heard in (first, second, third)}
    assert len(ids) == 3


@checklist(67)
def test_on_change_events_keep_quiet_until_something_changes_enough(
    device: Device, add_camera: AddCamera, bus: Bus
) -> None:
    auto = {"interval": "100ms", "onChange": True, "onChangeThreshold": 1.5, "sourceName": "R.te"}
    with bus.listen(f"edgex/events/device/{device.service}/#") as ear:
        camera = add_camera(autoEvents=[auto])

        def is_ours(heard: Heard) -> bool:
            return heard.topic.endswith(f"/{camera}/R.te")

        assert ear.next(is_ours).payload["event"]["readings"][0]["value"] == "5e+00"
        assert ear.is_silent(0.4, is_ours)
        assert device.put(camera, "Rate", {"Rate": 6}).status_code == 200
        assert ear.is_silent(0.4, is_ours), "1 is below the threshold"
        assert device.put(camera, "Rate", {"Rate": 7}).status_code == 200
        assert ear.next(is_ours).payload["event"]["readings"][0]["value"] == "7e+00", "2 since the last one sent"


@checklist(67)
def test_pictures_are_compared_by_their_content(device: Device, add_camera: AddCamera, bus: Bus) -> None:
    protocols = {"Camera": {"Source": "pattern:", "AutoStreaming": False}}
    auto = {"interval": "300ms", "onChange": True, "sourceName": "Frame"}
    with bus.listen(f"edgex/events/device/{device.service}/#") as ear:
        camera = add_camera(autoEvents=[auto], protocols=protocols)

        def is_ours(heard: Heard) -> bool:
            return heard.topic.endswith(f"/{camera}/Frame")

        first = ear.next(is_ours)
        assert first.payload["event"]["readings"][0]["binaryValue"]
        assert ear.is_silent(1, is_ours), "every opening of the pattern gives the same first picture"

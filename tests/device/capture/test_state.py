"""device_camera.capture.state: the state of one camera and why."""

import threading
from typing import TYPE_CHECKING

import pytest
from device_camera.capture.state import Health, State, Status

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock


def test_listeners_hear_of_changes_only(clock: "FakeClock") -> None:
    health, heard = Health(clock), list[Status]()
    health.listen(heard.append)
    for reason in ("refused", "refused", "no such stream"):
        health.become(State.LOST, reason)
    health.become(State.STREAMING)
    health.become(State.STREAMING)
    assert [(status.state, status.reason) for status in heard] == [
        (State.LOST, "refused"),
        (State.LOST, "no such stream"),
        (State.STREAMING, ""),
    ]


def test_since_is_when_the_state_began_not_its_reason(clock: "FakeClock") -> None:
    health = Health(clock)
    health.become(State.LOST, "refused")
    began = clock.unix_ns()
    clock.pass_by(60)
    health.become(State.LOST, "no such stream")
    assert health.status == Status(State.LOST, "no such stream", began)
    health.become(State.STREAMING)
    assert health.status.since_ns == clock.unix_ns()


def test_a_failing_listener_keeps_nobody_else_from_hearing(
    clock: "FakeClock", caplog: pytest.LogCaptureFixture
) -> None:
    health, heard = Health(clock), list[Status]()
    health.listen(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    health.listen(heard.append)
    health.become(State.CONNECTING)
    assert len(heard) == 1
    assert "a listener failed" in caplog.text


def test_a_state_can_be_waited_for(clock: "FakeClock") -> None:
    health = Health(clock)
    timer = threading.Timer(0.05, health.become, [State.STREAMING])
    timer.start()
    assert health.wait_for(State.STREAMING, State.LOST, seconds=10).state is State.STREAMING
    timer.join()


def test_waiting_ends_with_the_state_as_it_is(clock: "FakeClock") -> None:
    assert Health(clock).wait_for(State.STREAMING, seconds=0.01).state is State.STOPPED

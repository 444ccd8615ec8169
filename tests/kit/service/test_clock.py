"""The clock of events."""

import threading
import time

import pytest
from edgex_kit.service.clock import new_origin


def test_an_origin_is_now_in_nanoseconds() -> None:
    before = time.time_ns()
    assert abs(new_origin() - before) < 1e9


def test_origins_of_many_threads_are_all_different_and_grow_in_each() -> None:
    taken: list[list[int]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda own=own: own.extend(new_origin() for _ in range(20_000))) for own in taken
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own == sorted(own) for own in taken)
    assert len(set().union(*taken)) == 80_000


def test_a_clock_that_stands_still_gives_growing_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    now = new_origin() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)
    first = new_origin()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**8)
    assert new_origin() == first + 1
    assert new_origin() == first + 2


@pytest.mark.fault(23)
def test_a_clock_that_was_wrong_for_a_while_is_followed_once_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: right + 10**18)
    assert new_origin() > right + 10**17
    monkeypatch.setattr(time, "time_ns", lambda: right)
    assert new_origin() == right

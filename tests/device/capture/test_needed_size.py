"""Picture sizes that others need, each for a while."""

import pytest
from device_camera.capture.needed_size import SizeRequests
from edgex_kit.wire.errors import Invalid


def test_the_greatest_on_each_side_is_in_force() -> None:
    requests = SizeRequests()
    assert requests.needed(0) is None
    requests.add({"app": "534x300", "other": "400X400 "}, now=0, seconds=60)
    assert requests.needed(1) == (534, 400)
    assert requests.in_force(1) == {"app": "534x300", "other": "400x400"}


def test_each_lease_ends_by_itself_unless_it_is_asked_for_again() -> None:
    requests = SizeRequests()
    requests.add({"app": "534x300"}, now=0, seconds=60)
    requests.add({"other": "200x100"}, now=50, seconds=60)
    assert requests.needed(59.9) == (534, 300)
    assert requests.needed(60) == (200, 100)
    requests.add({"other": "200x100"}, now=100, seconds=60)
    assert requests.in_force(159) == {"other": "200x100"}
    assert requests.needed(160) is None


def test_who_needs_another_size_now_has_one_lease_and_an_empty_size_ends_it_at_once() -> None:
    requests = SizeRequests()
    requests.add({"app": "640x640"}, now=0, seconds=60)
    requests.add({"app": "300x300"}, now=1, seconds=60)
    assert requests.needed(2) == (300, 300)
    requests.add({"app": ""}, now=3, seconds=60)
    assert requests.in_force(3) == {}


LONG = ["000000001999999x1", "9" * 5000 + "x1"]


@pytest.mark.parametrize("text", ["small", "300", "0x300", "-3x4", "3x", "300x70000", "1e3x5", "3x4x5", 5, True, *LONG])
def test_what_is_no_size_is_refused_and_nothing_of_it_noted(text: object) -> None:
    requests = SizeRequests()
    with pytest.raises(Invalid, match="app: a size such as 534x300 expected"):
        requests.add({"good": "300x300", "app": text}, now=0, seconds=60)
    assert requests.needed(0) is None


def test_no_more_are_remembered_than_can_be_meant() -> None:
    requests = SizeRequests()
    requests.add({f"app-{number}": "300x300" for number in range(32)}, now=0, seconds=60)
    with pytest.raises(Invalid, match="32 at the most"):
        requests.add({"one more": "900x900"}, now=1, seconds=60)
    assert requests.needed(1) == (300, 300)
    requests.add({"one more": "900x900"}, now=60, seconds=60)
    assert requests.in_force(60) == {"one more": "900x900"}, "expired ones do not count"
    with pytest.raises(Invalid, match="128 characters"):
        requests.add({"e" * 129: "3x4"}, now=60, seconds=60)

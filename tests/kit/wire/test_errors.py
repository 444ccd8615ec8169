"""Errors: one status each, and the way back from a status."""

import pytest
from edgex_kit.wire import errors
from edgex_kit.wire.errors import DriverFailed, EdgexError, error_from_status

EVERY = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, EdgexError)]


def test_every_error_is_named_in_the_modules_overview() -> None:
    overview = errors.__doc__ or ""
    assert all(f"{kind.__name__} " in overview or kind is EdgexError for kind in EVERY)
    assert all(f"({kind.status}" in overview for kind in EVERY)


@pytest.mark.parametrize("status", [400, 401, 404, 405, 409, 413, 416, 423, 500, 501, 502, 503])
def test_a_status_becomes_an_error_of_that_status(status: int) -> None:
    error = error_from_status(status, "why")
    assert error.status == status
    assert str(error) == "why"


@pytest.mark.parametrize("status", [418, 504, 599])
def test_a_status_nobody_knows_is_a_failure_of_the_other_side(status: int) -> None:
    assert isinstance(error_from_status(status, ""), DriverFailed)

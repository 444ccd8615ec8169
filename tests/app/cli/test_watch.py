"""The outcome of a request, from the documents."""

import pytest
from app_inference.cli.watch import Ended, superseded
from app_inference.rollout.desired import Desired, ModelRequest

MINE = Desired(generation=3, models={"det": ModelRequest(version="2.0.0", asked_by="me")})


@pytest.mark.fault(17)
def test_a_request_that_another_has_replaced_ends_and_says_who_won() -> None:
    assert superseded(MINE, MINE, "det") is None
    assert superseded(MINE.with_request("det", ModelRequest(version="2.0.0", threshold=0.4)), MINE, "det") is None
    assert superseded(MINE.with_request("other", ModelRequest(version="1.0.0")), MINE, "det") is None
    for newer in (MINE.with_request("det", ModelRequest(version="3.0.0", asked_by="ann")), Desired(generation=3)):
        end = superseded(newer, MINE, "det")
        assert end is not None
        assert end.outcome is Ended.SUPERSEDED
        assert ("ann has requested version 3.0.0" in end.reason) == bool(newer.models)

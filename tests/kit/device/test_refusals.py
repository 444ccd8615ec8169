"""Messages that could not be understood are counted, and said once."""

import pytest
from edgex_kit.bus.bus import Message
from edgex_kit.device import refusals
from edgex_kit.device.refusals import Refusals
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.errors import Malformed


def test_ten_thousand_refusals_are_one_line_and_a_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics("s")
    door = Refusals(metrics, "commands")
    for _ in range(10_000):
        door.note(Message("edgex/x", b"{"), Malformed("no envelope"))
    assert metrics.counter("MalformedMessages", door="commands").value == 10_000
    assert len(caplog.records) == 1
    assert "'edgex/x'" in caplog.text
    monkeypatch.setattr(refusals, "_QUIET", 0.0)
    door.note(Message("edgex/x", b"{"), Malformed("no envelope"))
    assert "9999 more since" in caplog.text

"""The version before is seen out of its last frames, and a frame that never ends holds up no update."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_inference.inference.session import Session
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout import drain
from app_inference.rollout.metrics import UpdateMeters
from app_inference.rollout.steps import Step
from app_inference.vision.image import image_from_pixels
from edgex_kit.service.metrics import Counter, Metrics

from tests.app.updating import MODEL, open_site, write_version

PICTURE = image_from_pixels(np.zeros((32, 32, 3), np.uint8))


class Stuck:
    """A thread in an inference of the serving version that ends when it is told to."""

    def __init__(self, slot: ServedModel) -> None:
        self._let_go = threading.Event()
        self._is_in = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(slot,))

    def __enter__(self) -> "Stuck":
        self._thread.start()
        assert self._is_in.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._let_go.set()
        self._thread.join()

    def _look(self, slot: ServedModel) -> None:
        session = slot.session(slot.model)
        session._request = self  # type: ignore[assignment]
        session.analyse(PICTURE)

    def infer(self, _pixels: Any) -> Any:
        self._is_in.set()
        self._let_go.wait(30)
        return [np.zeros((1, 1, 1, 7), np.float32)]


@pytest.mark.goal(13)
async def test_a_frame_that_never_ends_is_told_and_holds_up_no_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(drain, "LIMIT", 0.5)
    logging.getLogger().addHandler(caplog.handler)
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version)
    async with open_site(tmp_path) as site:
        with Stuck(site.slot):
            began = time.monotonic()
            site.request("2.0.0", promoted=True)
            await site.until(lambda: site.street.versions()[-1:] == ["2.0.0"])
            await site.settled()
            assert time.monotonic() - began > 0.5
        rollout = site.rollout
        assert (rollout.record.active, rollout.drain.left, rollout.drain.timeouts) == ("2.0.0", 1, 1)
        assert not site.street.lost
        metrics = Metrics("app")
        UpdateMeters(metrics, {MODEL: rollout}, {MODEL: site.slot}, lambda _: None).look(rollout)
        counted = [it.value for it in metrics if isinstance(it, Counter) and it.name == "ModelDrainTimeouts"]
        assert counted == [1]
    assert "version 1.0.0 still holds 1 frames" in caplog.text


@pytest.mark.goal(13)
async def test_an_update_ends_after_the_last_frame_of_the_version_before(tmp_path: Path) -> None:
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version)
    async with open_site(tmp_path) as site:
        with Stuck(site.slot) as stuck:
            site.request("2.0.0", promoted=True)
            await site.until(lambda: site.street.versions()[-1:] == ["2.0.0"])
            assert site.rollout.record.step is Step.OBSERVE
            stuck.end()
            await site.settled()
        assert site.rollout.drain.left == 0
        assert site.rollout.record.active == "2.0.0"


def test_a_session_is_busy_only_while_it_looks(tmp_path: Path) -> None:
    from app_inference.inference.model import load_model
    from app_inference.models.repository import stored_model

    slot = ServedModel(MODEL, load_model(stored_model(write_version(tmp_path, "1.0.0"))))
    session: Session = slot.session(slot.model)
    session.analyse(PICTURE)
    assert session.busy_since is None
    with Stuck(slot):
        assert slot.busy(slot.model, time.perf_counter()) == 1
        assert slot.busy(slot.model, 0.0) == 0
    assert slot.busy(slot.model, time.perf_counter()) == 0

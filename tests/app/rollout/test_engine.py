"""What is desired in a real core-keeper, followed and answered there, whatever the message bus does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from app_inference.inference.model import load_model
from app_inference.models.repository import Repository
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout import engine as engine_module
from app_inference.rollout.desired import ModelRequest, ObserveOptions
from app_inference.rollout.engine import Engine
from app_inference.rollout.journal import Journal
from app_inference.rollout.preparation import Preparer
from app_inference.rollout.state_store import KeeperStateStore
from edgex_kit.clients.keeper import Keeper
from edgex_kit.wire.errors import Conflict, NotFound

from tests.app.updating import MODEL, RUNTIME, Slots, Street, write_version

AT_ONCE = ObserveOptions(min_frames=1, hold_seconds=0)


class Deaf(KeeperStateStore):
    """core-keeper whose change messages all get lost."""

    def watch(self, hint: Callable[[], None]) -> None:
        return


class Site:
    """An engine that runs, and what an operator can see of it."""

    def __init__(self, engine: Engine, slot: ServedModel, url: str, service: str) -> None:
        self.engine = engine
        self.slot = slot
        self._url = f"{url}/api/v3/kvs/key/edgex/v4/{service}/Models"

    def write(self, generation: int, text: str = "", **request: Any) -> None:
        """What a person or a tool writes straight into core-keeper."""
        document = text or json.dumps({"generation": generation, "models": {MODEL: request}})
        requests.put(f"{self._url}/Desired", json={"value": document}, timeout=5).raise_for_status()

    def reported(self) -> dict[str, Any]:
        answer = requests.get(f"{self._url}/Reported", params={"plaintext": "true"}, timeout=5)
        return dict(json.loads(answer.json()["response"][0]["value"])) if answer.ok else {}

    async def until(self, true: Callable[[], object], what: str, wait: float = 15) -> None:
        async with asyncio.timeout(wait):
            while not await asyncio.to_thread(true):
                await asyncio.sleep(0.05)

    async def serves(self, version: str) -> None:
        await self.until(lambda: self.slot.model.version == version, f"{version} serves")


OpenSite = Callable[[], "contextlib.AbstractAsyncContextManager[Site]"]


@pytest.fixture
def open_site(edgex: Any, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenSite:
    monkeypatch.setattr(engine_module, "REREAD", 0.3)

    @contextlib.asynccontextmanager
    async def open_one() -> AsyncIterator[Site]:
        write_version(tmp_path, "1.0.0")
        repository, keeper = Repository(tmp_path), Keeper(edgex.keeper)
        slot = ServedModel(MODEL, load_model(repository.version(MODEL, "1.0.0"), None, RUNTIME))
        store = Deaf(keeper, None, unique)  # type: ignore[arg-type] - it never listens to the bus
        engine = Engine(Slots({MODEL: slot}), Preparer(repository, RUNTIME), Journal(tmp_path / ".state"), store)
        running = asyncio.create_task(engine.run())
        try:
            with Street(slot).busy():
                yield Site(engine, slot, edgex.keeper, unique)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            keeper.close()

    return open_one


@pytest.mark.goal(35)
async def test_a_request_whose_change_message_was_lost_is_found_by_reading_again(
    open_site: OpenSite, tmp_path: Path
) -> None:
    write_version(tmp_path, "2.0.0")
    async with open_site() as site:
        site.write(3, version="2.0.0", observe={"minFrames": 1, "holdSeconds": 0})
        await site.serves("2.0.0")
        await site.until(lambda: site.reported()["models"][MODEL]["state"] == "IDLE", "it is told")
        told = site.reported()
        assert (told["generationSeen"], told["models"][MODEL]["active"]["version"]) == (3, "2.0.0")
        assert int(told["models"][MODEL]["since"]) > 0


@pytest.mark.goal(35)
async def test_a_document_that_is_wrong_is_refused_as_a_whole_and_the_reason_told(open_site: OpenSite) -> None:
    async with open_site() as site:
        site.write(1, text='{"generation": 1, "models": {"det": {"version": "1.0.0", "colour": "blue"}}}')
        await site.until(lambda: "colour" in site.reported().get("refusal", ""), "it is refused")
        site.write(2, version="1.0.0")
        await site.until(lambda: site.reported()["refusal"] == "", "a right one is taken")


@pytest.mark.goal(14, 35)
async def test_commands_at_the_same_time_undo_nothing_of_one_another(open_site: OpenSite) -> None:
    async with open_site() as site:
        asked: list[Awaitable[None]] = [
            site.engine.adjust(MODEL, threshold=0.4),
            site.engine.adjust(MODEL, paused=True),
            site.engine.adjust(MODEL, asked_by="somebody"),
        ]
        await asyncio.gather(*asked)
        await site.until(lambda: site.slot.threshold == 0.4, "the threshold is in force")
        request = site.engine.rollout(MODEL).deployment
        assert request is not None
        await site.until(lambda: site.engine.rollout(MODEL).deployment.request.paused, "it is paused")  # type: ignore[union-attr]


async def test_going_back_to_a_warm_version_needs_nothing_of_the_disk(open_site: OpenSite, tmp_path: Path) -> None:
    write_version(tmp_path, "2.0.0")
    async with open_site() as site:
        site.write(1, version="2.0.0", observe={"holdSeconds": 600})
        await site.serves("2.0.0")
        await site.engine.damaged(Repository(tmp_path).version(MODEL, "1.0.0"), "a byte has turned")
        with pytest.raises(Conflict, match=r"1\.0\.0 is quarantined: damaged on disk: a byte has turned"):
            await site.engine.deploy(MODEL, ModelRequest(version="1.0.0"))
        await site.engine.roll_back(MODEL)
        await site.serves("1.0.0")


@pytest.mark.goal(3)
async def test_an_alias_that_moves_is_a_swap(open_site: OpenSite, tmp_path: Path) -> None:
    write_version(tmp_path, "2.0.0")
    repository = Repository(tmp_path)
    async with open_site() as site:
        repository.point(MODEL, "stable", "1.0.0")
        site.write(1, version="stable", promoted=True)
        await site.until(lambda: site.engine.rollout(MODEL).record.active == "1.0.0", "it is followed")
        repository.point(MODEL, "stable", "2.0.0")
        await site.serves("2.0.0")
        await site.engine.adjust(MODEL, threshold=0.3)
        await site.until(lambda: site.slot.threshold == 0.3, "the threshold is in force")
        assert site.slot.model.version == "2.0.0"
        repository.point(MODEL, "stable", "1.0.0")
        await site.serves("1.0.0")


@pytest.mark.goal(3)
async def test_an_alias_that_is_gone_takes_nothing_from_what_serves(open_site: OpenSite, tmp_path: Path) -> None:
    write_version(tmp_path, "2.0.0")
    repository = Repository(tmp_path)
    async with open_site() as site:
        repository.point(MODEL, "stable", "2.0.0")
        site.write(1, version="stable", promoted=True)
        await site.serves("2.0.0")
        rollout = site.engine.rollout(MODEL)
        await site.until(lambda: rollout.record.active == "2.0.0", "it is committed")
        repository.forget(MODEL, "stable")
        await site.until(lambda: "no alias 'stable'" in rollout.record.reason, "the request is refused")
        assert (site.slot.model.version, rollout.record.active) == ("2.0.0", "2.0.0")


@pytest.mark.goal(15)
async def test_a_version_that_was_refused_is_not_tried_again_by_reading_again(
    open_site: OpenSite, tmp_path: Path
) -> None:
    (write_version(tmp_path, "2.0.0") / "model.xml").write_text("<net>")
    async with open_site() as site:
        site.write(1, version="latest")
        rollout = site.engine.rollout(MODEL)
        await site.until(lambda: rollout.counts.refusals == 1, "it is refused")
        await asyncio.sleep(1.0)  # three more readings
        assert rollout.counts.refusals == 1
        assert site.slot.model.version == "1.0.0"


async def test_a_threshold_does_not_try_a_refused_version_again(open_site: OpenSite, tmp_path: Path) -> None:
    write_version(tmp_path, "2.0.0", labels=["dog", "car", "person"])
    async with open_site() as site:
        await site.engine.deploy(MODEL, ModelRequest(version="2.0.0", observe=AT_ONCE, retry=True))
        rollout = site.engine.rollout(MODEL)
        await site.until(lambda: rollout.counts.refusals == 1, "it is refused")
        await site.engine.adjust(MODEL, threshold=0.3)
        await site.until(lambda: site.slot.threshold == 0.3, "the threshold is in force")
        await asyncio.sleep(0.5)
        assert rollout.counts.refusals == 1


async def test_an_unknown_version_is_no_request(open_site: OpenSite) -> None:
    async with open_site() as site:
        with pytest.raises(NotFound, match=r"no version '7\.0\.0'"):
            await site.engine.deploy(MODEL, ModelRequest(version="7.0.0"))
        with pytest.raises(NotFound):
            await site.engine.adjust("nobody", threshold=0.1)

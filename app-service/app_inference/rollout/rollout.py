"""One model's way from the version it serves to the one that is wished; the steps are drawn in `steps`.

Wishes arrive at any time and the newest counts: one that comes while another is followed takes that one back first.
Nothing here touches the serving version before SWITCH, and after it the version before stays warm until COMMIT.
"""

import asyncio
import logging
from collections.abc import Callable

from edgex_kit.supervision import keep
from edgex_kit.wire.errors import Conflict, EdgexError, Invalid, Locked, NotFound

from app_inference.errors import ModelRejected
from app_inference.inference.model import Model
from app_inference.models.repository import StoredModel
from app_inference.pipeline.samples import Evidence
from app_inference.pipeline.serving import ActiveSet, ServedModel
from app_inference.rollout.canary import canary_for
from app_inference.rollout.clearance import Clearance
from app_inference.rollout.deployment_queue import Deployment, DeploymentQueue
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.drain import Drain
from app_inference.rollout.drift import baseline_from
from app_inference.rollout.gate import Judgement
from app_inference.rollout.journal import Journal, Record
from app_inference.rollout.observation import Breach, Compared, Observation, Pair
from app_inference.rollout.preparation import Prepared, Preparer
from app_inference.rollout.progress import Progress, RolloutCounts
from app_inference.rollout.served import ServedModels
from app_inference.rollout.steps import Step

log = logging.getLogger(__name__)

JUDGE_EVERY = 0.1  # seconds


class Rollout:
    """Follows the wishes for one model. `tell` is called after every change that is worth reporting."""

    def __init__(
        self, name: str, served: ServedModels, preparer: Preparer, journal: Journal, tell: Callable[[], None]
    ) -> None:
        self.name = name
        self.prepared: Prepared | None = None
        self.tallies = RolloutCounts()
        self.drain = Drain(name, tell)
        self._served = served
        self._preparer = preparer
        self._progress = Progress(name, journal, tell)
        self._tell = tell
        self._queue = DeploymentQueue()
        self._observation = Observation(name, tell)
        self._before: Evidence = Evidence()
        self._clearance = Clearance(name, preparer, self._progress, served, self._queue)

    def request(self, deployment: Deployment) -> None:
        """Follow `order` from now on, instead of any other."""
        self._queue.put(deployment)

    @property
    def deployment(self) -> Deployment | None:
        """What is wished now."""
        return self._queue.now

    @property
    def record(self) -> Record:
        """How far it has come, as it is journalled."""
        return self._progress.record

    @property
    def judgement(self) -> Judgement:
        """What the gate said last."""
        return self._observation.judgement

    @property
    def is_locked(self) -> bool:
        """Whether the device's adminState forbids updates; journalled, so that a restart does not forget it."""
        return self.record.is_locked

    def reread(self) -> None:
        """Take up what the journal says: the model was loaded anew. Raises EdgexError."""
        self._progress.reread()

    def lock(self, locked: bool) -> None:
        """Forbid updates, or allow them again: the wish that was refused meanwhile is then followed."""
        if locked == self.is_locked:
            return
        self._progress.store(is_locked=locked)
        if not locked and self.deployment is not None:
            self.request(self.deployment)

    def quarantine(self, digest: str, version: str, reason: str) -> None:
        """Do not try this version again by itself."""
        self._progress.quarantine(digest, version, reason)

    def promote(self) -> None:
        """An operator's word counts as a pass. Raises Conflict when there is nothing to promote."""
        if self.record.step not in (Step.SHADOW, Step.CANARY, Step.OBSERVE):
            raise Conflict(f"model '{self.name}' has no candidate to promote; it is {self.record.step}")
        self._observation.promote()

    async def follow(self) -> None:
        """Follow wish after wish, for ever."""
        async with asyncio.TaskGroup() as tasks:
            keep(tasks, {f"clearance:{self.name}": self._clearance.run})
            await self._queue.follow(
                f"rollout:{self.name}",
                self._attempt,
                self._adjust,
                lambda: self._take_back("a newer wish came", quarantine=False),
            )

    def _adjust(self, deployment: Deployment) -> None:
        self._apply_threshold(deployment.request)
        self._tell()

    async def _attempt(self, deployment: Deployment) -> None:
        self._apply_threshold(deployment.request)
        try:
            await self._roll(deployment)
        except Breach as breach:
            self._take_back(str(breach), quarantine=True)
        except ModelRejected as rejected:
            self._refuse(str(rejected), quarantine=True)
        except EdgexError as error:
            self._refuse(str(error), quarantine=False)
        except Exception as error:  # this model's update ends here; the version that serves goes on
            log.exception("update of model '%s'", self.name)
            self._take_back(f"{type(error).__name__}: {error}", quarantine=False)

    async def _roll(self, deployment: Deployment) -> None:
        request, slot = deployment.request, self._slot()
        if self.record.step is not Step.IDLE:  # what could not be noted when it happened
            self._note_return(self.record.reason, slot, quarantine=False)
        if slot is not None and request.version == slot.model.version:
            self._adopt(deployment, slot)
            return
        self._progress.step(
            Step.RESOLVE, candidate=request.version, generation=deployment.generation, reason="", refused=""
        )
        stored = await self._resolve(request)
        prepared = await self._prepare(stored, request, slot)
        await self._while_paused()
        if slot is None:
            self._fill(prepared)
        else:
            await self._compare(prepared, request, slot)
            old = self._switch(prepared, slot)
            await self._observe(prepared, old, slot)
            self._commit(prepared, slot)
        self._clearance.begin()

    def _adopt(self, deployment: Deployment, slot: ServedModel) -> None:
        """It serves already: that is then the version to boot with."""
        if self.record.active != deployment.request.version or self.record.generation != deployment.generation:
            kept = self.record.baseline if self.record.active == deployment.request.version else None
            self._progress.store(
                active=deployment.request.version,
                generation=deployment.generation,
                reason="",
                refused="",
                baseline=kept,
            )
        log.info("model '%s' serves version %s as wished", self.name, slot.model.version)

    async def _resolve(self, request: ModelRequest) -> StoredModel:
        if self.is_locked:
            raise Locked(f"model '{self.name}' is LOCKED: it is not to be updated")
        await self._clearance.over()
        stored = self._preparer.find(self.name, request.version)
        self._progress.step(Step.VERIFY)
        digest = await self._preparer.verify(stored)
        quarantined = next((it for it in self.record.quarantine if it.digest == digest), None)
        if quarantined is not None and not request.retry:
            raise Invalid(f"it is quarantined: {quarantined.reason}; `deploy --retry` tries it again")
        kept = tuple(it for it in self.record.quarantine if it.digest != digest)
        boots = self.record.boots if digest == self.record.candidate_digest else 0
        self._progress.store(candidate_digest=digest, quarantine=kept, boots=boots)
        return stored

    async def _prepare(self, stored: StoredModel, request: ModelRequest, slot: ServedModel | None) -> Prepared:
        self._progress.step(Step.LOAD)
        prepared = await self._preparer.load(stored)
        self._progress.step(Step.SELFTEST)
        serving = slot.model if slot else None
        await self._preparer.check(stored, prepared.model, serving, allow_labels=request.allow_label_change)
        self.prepared = prepared
        return prepared

    async def _compare(self, prepared: Prepared, request: ModelRequest, slot: ServedModel) -> None:
        """Let the candidate look on, or serve some cameras, until the gate lets it pass."""
        if request.strategy == "swap":
            return
        known = slot.cameras(slot.model)
        is_canary = canary_for(self.name, request.canary, known) if request.strategy == "canary" else None
        slot.start_over(prepared.model)
        slot.replace(ActiveSet(slot.model, candidate=prepared.model, is_canary=is_canary))
        self._progress.step(Step.CANARY if is_canary else Step.SHADOW)

        def evidence() -> Compared:
            cameras = slot.cameras(prepared.model)
            return slot.evidence(slot.model, cameras), slot.evidence(prepared.model), slot.agreement

        await self._passed(Pair(slot.model, prepared.model, evidence))

    def _switch(self, prepared: Prepared, slot: ServedModel) -> Model:
        """Gives back the version before."""
        self._progress.step(Step.SWITCH)
        old = slot.model
        self._before = slot.evidence(old)
        self.tallies.swaps += 1
        slot.start_over(prepared.model)
        slot.replace(ActiveSet(prepared.model, warm=old))
        return old

    async def _observe(self, prepared: Prepared, old: Model, slot: ServedModel) -> None:
        self._progress.step(Step.OBSERVE)
        async with self.drain.seen_out(slot, old):
            await self._passed(Pair(old, prepared.model, lambda: (self._before, slot.evidence(prepared.model), None)))

    def _fill(self, prepared: Prepared) -> None:
        """Nothing serves: there is nothing to compare with and nothing to go back to."""
        if self._served.find(self.name) is not None:
            raise Conflict(f"model '{self.name}' was brought back by another way meanwhile; wish again")
        version, before = prepared.model.version, self.record.previous
        self._progress.step(Step.SWITCH)
        self._served.fill(self.name, prepared.model)
        self.tallies.swaps += 1
        self._apply_threshold(self._request)
        self._progress.step(
            Step.COMMIT, active=version, previous=before if before != version else "", boots=0, baseline=None
        )
        self._progress.step(Step.IDLE, candidate="", candidate_digest="")
        self.prepared = None
        log.info("model '%s' serves again, with version %s", self.name, version)

    def _commit(self, prepared: Prepared, slot: ServedModel) -> None:
        version, before = prepared.model.version, self.record.active
        active = slot.active
        previous = before or (active.warm.version if active.warm else "")
        seen = baseline_from(slot.evidence(prepared.model).samples)
        self._progress.step(Step.COMMIT, active=version, previous=previous, boots=0, baseline=seen)
        slot.replace(ActiveSet(prepared.model))
        self._progress.step(Step.IDLE, candidate="", candidate_digest="")
        self.prepared = None
        log.info("model '%s': version %s is committed, %s was before", self.name, version, previous or "none")

    async def _passed(self, pair: Pair) -> None:
        await self._observation.passed(pair, lambda: self._request, lambda: asyncio.sleep(JUDGE_EVERY))

    @property
    def _request(self) -> ModelRequest:
        assert self.deployment is not None
        return self.deployment.request

    async def _while_paused(self) -> None:
        while self._request.paused:
            await asyncio.sleep(JUDGE_EVERY)

    def _refuse(self, reason: str, *, quarantine: bool) -> None:
        """The candidate is dropped; the serving version was never touched."""
        self.tallies.refusals += 1
        log.warning(
            "model '%s': version %s refused: %s", self.name, self.deployment and self.deployment.request.version, reason
        )
        self._take_back(reason, quarantine=quarantine)

    def _take_back(self, reason: str, *, quarantine: bool) -> None:
        """Serve the version before, which is warm: no disk, no compilation."""
        slot = self._served.find(self.name)
        active = slot.active if slot is not None else None
        if slot is not None and active is not None and active.is_update:
            slot.replace(ActiveSet(active.warm or active.serving))
        self.prepared = None
        try:
            self._note_return(reason, slot, quarantine=quarantine)
        except EdgexError as error:  # a full disk: it has gone back all the same, and the next wish notes it
            log.warning("model '%s' is back, but that could not be noted: %s", self.name, error)

    def _note_return(self, reason: str, slot: ServedModel | None, *, quarantine: bool) -> None:
        serving = slot.model.version if slot is not None else "nothing"
        requested = self.deployment.request.version if self.deployment else ""
        if self._progress.give_up(reason, serving, requested, quarantine=quarantine):
            self.tallies.rollbacks += 1

    def _apply_threshold(self, request: ModelRequest) -> None:
        slot = self._served.find(self.name)
        if slot is not None:
            slot.threshold = request.threshold

    def _slot(self) -> ServedModel | None:
        """Where it serves; None where a pipeline names it and no version could be loaded. Raises NotFound."""
        slot = self._served.find(self.name)
        if slot is None and not self._served.is_missing(self.name):
            raise NotFound(f"no pipeline uses model '{self.name}'; a version of it is tried once one does")
        return slot

"""One model's way from the version it serves to the requested one; the steps are drawn in `steps`.

Requests arrive at any time and the newest counts: one that arrives while another is followed takes that one back first.
Nothing here changes what serves before SWITCH, and after it the version before stays warm until COMMIT.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from edgex_kit.bus.queues import Latest
from edgex_kit.supervision import keep
from edgex_kit.wire.errors import Conflict, EdgexError, Invalid, Locked, NotFound

from app_inference.errors import ModelRejected
from app_inference.inference.model import Model
from app_inference.models.repository import StoredModel
from app_inference.pipeline.samples import Evidence
from app_inference.pipeline.serving import ActiveSet, ServedModel
from app_inference.rollout.canary import canary_for
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.drift import baseline_from
from app_inference.rollout.gate import Judgement
from app_inference.rollout.journal import Journal, JournalFailed, Progress, Record
from app_inference.rollout.observation import Breach, Observation, Pair
from app_inference.rollout.preparation import Prepared, Preparer
from app_inference.rollout.steps import Step

log = logging.getLogger(__name__)

LEAST_SHADOW = 0.05  # of a core: a shadow that analyses nothing would be waited for in vain
JUDGE_EVERY = 0.1  # seconds
DRAIN_LIMIT = 10.0  # seconds; the longest frame that is no fault takes far less
_DRAIN_POLL = 0.02  # seconds


class ServedModels(Protocol):
    """The models that pipelines use, as updates see them."""

    def find(self, name: str) -> ServedModel | None:
        """A model that serves."""

    def is_missing(self, name: str) -> bool:
        """Whether a pipeline names it and no version of it could be loaded."""

    def fill(self, name: str, model: Model) -> None:
        """Let `model` serve under a name that is missing."""

    def in_use(self, name: str) -> set[str]:
        """Versions of it that serve under any name, pipelines that ask for one of their own included. On any thread."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A request and the generation of the document it came with."""

    request: ModelRequest
    generation: int

    def adjusts(self, other: "Deployment") -> bool:
        """Whether it asks for the same as `other`, with other limits or an approval."""
        mine, theirs = self.request, other.request
        return (mine.version, mine.strategy) == (theirs.version, theirs.strategy)


@dataclass(slots=True)
class RolloutCounts:
    """What became of the requests since the start."""

    swaps: int = 0
    rollbacks: int = 0
    refusals: int = 0
    drain_timeouts: int = 0


class Rollout:
    """Follows the requests for one model. `notify` is called after every change that is worth reporting."""

    def __init__(
        self, name: str, served: ServedModels, preparer: Preparer, journal: Journal, notify: Callable[[], None]
    ) -> None:
        self.name = name
        self.deployment: Deployment | None = None  # what is followed, or was last
        self.prepared: Prepared | None = None
        self.counts = RolloutCounts()
        self.undrained = 0  # frames that the last version still held when its time was over
        self._served = served
        self._preparer = preparer
        self._progress = Progress(name, journal, notify)
        self._notify = notify
        self._newest: Deployment | None = None  # followed next
        self._unwritten: Deployment | None = None  # stopped by a journal that could not be written
        self._incoming: Latest[Deployment] = Latest()
        self._observation = Observation(name, notify)
        self._before: Evidence = Evidence()
        self._removal_due: Latest[bool] = Latest()
        self._removing = asyncio.Lock()

    def request(self, deployment: Deployment) -> None:
        """Follow `deployment` from now on, instead of any other."""
        self._newest = deployment
        self._incoming.put(deployment)

    @property
    def record(self) -> Record:
        """How far it has come, as it is journalled."""
        return self._progress.record

    @property
    def judgement(self) -> Judgement:
        """The gate's last judgement."""
        return self._observation.judgement

    def reread(self) -> None:
        """Take over what the journal says: the model was loaded again. Raises EdgexError."""
        self._progress.reread()

    def lock(self, locked: bool) -> None:
        """Forbid updates, or allow them again: a request that was refused meanwhile is then followed."""
        if locked == self.record.is_locked:
            return
        self._progress.note(is_locked=locked)
        if not locked and self._newest is not None:
            self.request(self._newest)

    def quarantine(self, digest: str, version: str, reason: str) -> None:
        """Do not try this version again automatically."""
        self._progress.quarantine(digest, version, reason)

    def promote(self) -> None:
        """Approve the candidate. Raises Conflict when there is none to approve."""
        if self.record.step not in (Step.SHADOW, Step.CANARY, Step.OBSERVE):
            raise Conflict(f"model '{self.name}' has no candidate to promote; it is {self.record.step}")
        self._observation.promote()

    def flush(self) -> None:
        """Journal what a full disk has kept in memory, then try again the deployment that it stopped."""
        if self._progress.flush() and self._unwritten is not None:
            unwritten, self._unwritten = self._unwritten, None
            if unwritten is self.deployment is self._newest:
                self.request(unwritten)

    def end(self) -> None:
        """The service stops: the candidate is not blamed for it."""
        self._progress.end()

    async def follow(self) -> None:
        """Follow request after request, for ever. One that is superseded is cancelled and taken back first."""
        async with asyncio.TaskGroup() as tasks:
            keep(tasks, {f"retention:{self.name}": self._remove_old_versions})
            following = await self._incoming.get()
            while True:
                self.deployment = following  # before it begins: the next may arrive by then, and is compared with it
                attempt = asyncio.create_task(self._attempt(following), name=f"rollout:{self.name}")
                try:
                    following = await self._next(attempt)
                    if not attempt.done():
                        attempt.cancel()
                        await asyncio.wait({attempt})
                        self._take_back("a newer request came", quarantine=False)
                finally:
                    attempt.cancel()

    async def _next(self, attempt: asyncio.Task[None]) -> Deployment:
        """The next deployment that asks for something else. One that only adjusts the running one is taken over."""
        while True:
            following = await self._incoming.get()
            if attempt.done() or self.deployment is None:
                return following
            if self.record.is_locked and not following.adjusts(self.deployment):
                log.warning("model '%s' is LOCKED: version %s waits", self.name, following.request.version)
                continue  # the newest request is followed once it is unlocked
            if not following.adjusts(self.deployment):
                return following
            self.deployment = following
            self._apply_threshold(following.request)
            self._notify()

    async def _attempt(self, deployment: Deployment) -> None:
        self._apply_threshold(deployment.request)
        try:
            await self._roll(deployment)
        except Breach as breach:
            self._take_back(str(breach), quarantine=breach.is_proved)
        except JournalFailed as error:  # nothing is wrong with the version
            self._unwritten = deployment
            self._refuse(str(error), quarantine=False)
        except ModelRejected as rejected:
            self._refuse(str(rejected), quarantine=True)
        except EdgexError as error:
            self._refuse(str(error), quarantine=False)
        except Exception as error:  # this model's update ends here; the version that serves goes on
            log.exception("update of model '%s'", self.name)
            self._take_back(f"{type(error).__name__}: {error}", quarantine=False)

    async def _roll(self, deployment: Deployment) -> None:
        request, served = deployment.request, self._find()
        if self.record.step is not Step.IDLE:  # of a start that could not journal it
            self._note_return(self.record.reason, served, quarantine=False)
        if served is not None and request.version == served.model.version:
            self._adopt(deployment, served)
            return
        self._progress.step(
            Step.RESOLVE, candidate=request.version, generation=deployment.generation, reason="", refused=""
        )
        self._observation.reset()
        stored = await self._resolve(request)
        prepared = await self._prepare(stored, request, served)
        while self._request.paused:
            await asyncio.sleep(JUDGE_EVERY)
        if served is None:
            self._fill(prepared)
        else:
            self._refuse_locked()  # it may have been locked meanwhile
            await self._compare(prepared, request, served)
            self._refuse_locked()
            old = self._switch(prepared, served)
            await self._observe(prepared, old, served)
            self._commit(prepared, served)
        self._removal_due.put(True)

    def _adopt(self, deployment: Deployment, served: ServedModel) -> None:
        """It serves already: that is then the version to start with."""
        version, record = deployment.request.version, self.record
        if record.active != version or record.generation != deployment.generation:
            kept = record.baseline if record.active == version else None
            self._progress.note(active=version, generation=deployment.generation, reason="", refused="", baseline=kept)
        log.info("model '%s' serves version %s as requested", self.name, served.model.version)

    def _refuse_locked(self) -> None:
        if self.record.is_locked:
            raise Locked(f"model '{self.name}' is LOCKED: it is not to be updated")

    async def _resolve(self, request: ModelRequest) -> StoredModel:
        self._refuse_locked()
        async with self._removing:  # afterwards the version is there, or it is not
            stored = self._preparer.find(self.name, request.version)
        self._progress.step(Step.VERIFY)
        digest = await self._preparer.verify(stored)
        quarantined = next((it for it in self.record.quarantine if it.digest == digest), None)
        generation = self.record.generation
        if quarantined is not None and not (request.retry and self.record.retried < generation):
            raise Invalid(f"it is quarantined: {quarantined.reason}; `deploy --retry` tries it again, once")
        kept = tuple(it for it in self.record.quarantine if it.digest != digest)
        boots = self.record.boots if digest == self.record.candidate_digest else 0
        retried = generation if quarantined is not None else self.record.retried
        self._progress.note(candidate_digest=digest, quarantine=kept, boots=boots, retried=retried)
        return stored

    async def _prepare(self, stored: StoredModel, request: ModelRequest, served: ServedModel | None) -> Prepared:
        self._progress.step(Step.LOAD)
        prepared = await self._preparer.load(stored)
        self._progress.step(Step.SELFTEST)
        serving = served.model if served else None
        await self._preparer.check(stored, prepared.model, serving, allow_labels=request.allow_label_change)
        self.prepared = prepared
        return prepared

    async def _compare(self, prepared: Prepared, request: ModelRequest, served: ServedModel) -> None:
        """Run the candidate beside the serving version, or for some cameras, until it passes the gate."""
        if request.strategy == "swap":
            return
        known = served.cameras(served.model)
        is_canary = canary_for(self.name, request.canary, known) if request.strategy == "canary" else None
        served.start_over(prepared.model)
        served.replace(ActiveSet(served.model, candidate=prepared.model, is_canary=is_canary))
        self._progress.step(Step.CANARY if is_canary else Step.SHADOW)

        def evidence() -> tuple[Evidence, Evidence]:
            cameras = served.cameras(prepared.model)
            return served.evidence(served.model, cameras), served.evidence(prepared.model)

        least = 0.0 if is_canary else LEAST_SHADOW
        await self._passed(Pair(served.model, prepared.model, evidence, served.comparisons, least))

    def _switch(self, prepared: Prepared, served: ServedModel) -> Model:
        """The version before."""
        self._progress.step(Step.SWITCH)
        old = served.model
        self._before = served.evidence(old)
        self.counts.swaps += 1
        served.start_over(prepared.model)
        served.replace(ActiveSet(prepared.model, warm=old))
        return old

    async def _observe(self, prepared: Prepared, old: Model, served: ServedModel) -> None:
        self._progress.step(Step.OBSERVE)
        async with self._drained(served, old):

            def evidence() -> tuple[Evidence, Evidence]:
                return self._before, served.evidence(prepared.model)

            await self._passed(Pair(old, prepared.model, evidence, served.comparisons))

    @contextlib.asynccontextmanager
    async def _drained(self, served: ServedModel, old: Model) -> AsyncIterator[None]:
        """Wait for the frames that `old` holds now, while the block runs and after it, for `DRAIN_LIMIT` at most."""

        async def drain(since: float) -> None:
            self.undrained = 0
            while (left := served.busy(old, since)) and time.perf_counter() - since < DRAIN_LIMIT:
                await asyncio.sleep(_DRAIN_POLL)
            if left:
                self.undrained = left
                self.counts.drain_timeouts += 1
                text = "model '%s': version %s still holds %d frames %g s after the switch; no longer waited for"
                log.warning(text, self.name, old.version, left, DRAIN_LIMIT)
                self._notify()

        draining = asyncio.create_task(drain(time.perf_counter()), name=f"drain:{self.name}")
        try:
            yield
            await draining
        finally:
            draining.cancel()

    def _fill(self, prepared: Prepared) -> None:
        """Nothing serves: there is nothing to compare with and nothing to roll back to."""
        if self._served.find(self.name) is not None:
            raise Conflict(f"another change made model '{self.name}' serve meanwhile; request the version again")
        version, before = prepared.model.version, self.record.previous
        self._progress.step(Step.SWITCH)
        self._served.fill(self.name, prepared.model)
        self.counts.swaps += 1
        self._apply_threshold(self._request)
        self._progress.step(
            Step.COMMIT, active=version, previous=before if before != version else "", boots=0, baseline=None
        )
        self._finish("model '%s' serves again, with version %s", version)

    def _commit(self, prepared: Prepared, served: ServedModel) -> None:
        version, warm = prepared.model.version, served.active.warm
        previous = self.record.active or (warm.version if warm else "")
        seen = baseline_from(served.evidence(prepared.model).samples)
        self._progress.step(Step.COMMIT, active=version, previous=previous, boots=0, baseline=seen)
        served.replace(ActiveSet(prepared.model))
        self._finish("model '%s': version %s is committed, %s was before", version, previous or "none")

    def _finish(self, text: str, *values: str) -> None:
        self._progress.step(Step.IDLE, candidate="", candidate_digest="")
        self.prepared = None
        log.info(text, self.name, *values)

    async def _passed(self, pair: Pair) -> None:
        await self._observation.passed(pair, lambda: self._request, lambda: asyncio.sleep(JUDGE_EVERY))

    @property
    def _request(self) -> ModelRequest:
        assert self.deployment is not None
        return self.deployment.request

    def _refuse(self, reason: str, *, quarantine: bool) -> None:
        """The candidate is dropped; the serving version was never touched."""
        self.counts.refusals += 1
        log.warning("model '%s': version %s refused: %s", self.name, self._request.version, reason)
        self._take_back(reason, quarantine=quarantine)

    def _take_back(self, reason: str, *, quarantine: bool) -> None:
        """Serve the version before, which is warm: no disk, no compilation."""
        served = self._served.find(self.name)
        if served is not None and served.active.is_update:
            served.replace(ActiveSet(served.active.warm or served.active.serving))
        self.prepared = None
        self._note_return(reason, served, quarantine=quarantine)

    def _note_return(self, reason: str, served: ServedModel | None, *, quarantine: bool) -> None:
        serving = served.model.version if served is not None else "nothing"
        requested = self.deployment.request.version if self.deployment else ""
        if self._progress.give_up(reason, serving, requested, quarantine=quarantine):
            self.counts.rollbacks += 1

    def _apply_threshold(self, request: ModelRequest) -> None:
        served = self._served.find(self.name)
        if served is not None:
            served.threshold = request.threshold

    def _find(self) -> ServedModel | None:
        """Where it serves; None where a pipeline names it and no version could be loaded. Raises NotFound."""
        served = self._served.find(self.name)
        if served is None and not self._served.is_missing(self.name):
            raise NotFound(f"no pipeline uses model '{self.name}'; a version of it is tried once one does")
        return served

    async def _remove_old_versions(self) -> None:
        """Remove what retention no longer keeps, after each update and beside the next request, for ever."""
        while True:
            await self._removal_due.get()
            async with self._removing:
                await self._preparer.prune(self.name, self.record.active, self._needed)

    def _needed(self) -> set[str]:
        """Versions that stay whatever retention says; asked on the removing thread, before each removal."""
        needed = {self.record.active, self.record.previous, *self._served.in_use(self.name)}
        if self._newest is not None:
            with contextlib.suppress(NotFound, Invalid):  # the attempt will say so
                needed.add(self._preparer.repository.chosen(self.name, self._newest.request.version))
        return needed

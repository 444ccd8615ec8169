"""All rollouts of a service: reads the desired state, gives each model its request, and reports the outcome."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable

import msgspec
from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import Conflict, EdgexError, NotFound

from app_inference.background import in_background
from app_inference.inference.model import Model
from app_inference.models.repository import StoredModel
from app_inference.models.versions import is_version
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout.desired import Desired, ModelRequest
from app_inference.rollout.journal import Journal, Record
from app_inference.rollout.preparation import Preparer
from app_inference.rollout.reported import ModelReport, Reported, VersionReport, reported_text
from app_inference.rollout.rollout import Deployment, Rollout, ServedModels
from app_inference.rollout.state_store import StateStore
from app_inference.rollout.steps import Step

log = logging.getLogger(__name__)
audit = logging.getLogger("app_inference.audit")

REREAD = 30.0  # seconds: change messages are best effort
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # as in a manifest; it becomes the name of a file
TELL_EVERY = 0.5  # seconds between two writes of the reported state at the most


class Engine:
    """Rollouts by model name, of the models that pipelines use."""

    def __init__(self, served: ServedModels, preparer: Preparer, journal: Journal, store: StateStore) -> None:
        self.rollouts: dict[str, Rollout] = {}
        self._served = served
        self._preparer = preparer
        self._journal = journal
        self._store = store
        self._desired = Desired()
        self._seen: Desired | None = None
        self._ordered: dict[str, str] = {}  # model -> the version that its request meant when it was handed out
        self._refusal = ""
        self._is_watching = False
        self._hints: Latest[bool] = Latest()
        self._news: Latest[bool] = Latest()
        self._listeners: list[Callable[[Reported], None]] = []
        self._writing = asyncio.Lock()

    def on_report(self, notify: Callable[[Reported], None]) -> None:
        """Call `notify` with every new reported state, on the event loop."""
        self._listeners.append(notify)

    async def run(self) -> None:
        """Follow the desired state and report, for ever."""
        self._seen = None  # a run that is started again hands out every request again
        if not self._is_watching:
            self._is_watching = True
            self._store.watch(self._hint)
        self._remember()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(tasks), name="desired")
                tasks.create_task(self._report(), name="reported")
        finally:
            for rollout in self.rollouts.values():
                rollout.end()

    async def deploy(self, name: str, request: ModelRequest) -> None:
        """Request a version of a model, for commands.

        Raises NotFound for a version that is not there, Conflict for one in quarantine that is not to be retried.
        """
        await self._check_quarantine(name, request)
        await self._write(name, lambda _: request)

    async def roll_back(self, name: str, asked_by: str = "") -> None:
        """Request the version before: the one a rollout replaces, else the last committed one. Raises Conflict.

        In quarantine or not: a version that is still warm needs no file that has been damaged since.
        """
        rollout = self.rollout(name)
        is_trying = rollout.record.step not in (Step.IDLE, Step.COMMIT)
        target = rollout.record.active if is_trying else rollout.record.previous
        slot = self._served.find(name)
        if is_trying and not target and slot is not None and slot.active.warm is not None:
            target = slot.active.warm.version
        if not target:
            raise Conflict(f"model '{name}' has no version to go back to")
        await self._write(name, lambda _: ModelRequest(version=target, promoted=True, asked_by=asked_by))

    async def adjust(self, name: str, **changes: object) -> None:
        """Change parts of a model's request: its threshold, whether it is paused."""
        rollout, serving = self.rollout(name), self._serving_version(name)

        def adjusted(desired: Desired) -> ModelRequest:
            request = desired.models.get(name)
            meant = self._meant(name, request.version) if request is not None else ""
            is_followed = request is not None and (meant == serving or rollout.record.step is not Step.IDLE)
            # A request that was refused or rolled back is not to be tried again because a threshold changes.
            base = request if request is not None and is_followed else ModelRequest(version=serving)
            return msgspec.structs.replace(base, retry=False, **changes)

        await self._write(name, adjusted)

    def rollout(self, name: str) -> Rollout:
        """The rollout of a model. Raises NotFound for one that no pipeline uses."""
        if name not in self.rollouts:  # a new one reads the journal: not at every call
            if not self._is_ours(name):
                raise NotFound(f"no model '{name}'")
            self.rollouts[name] = Rollout(name, self._served, self._preparer, self._journal, self._notify)
        return self.rollouts[name]

    def report(self) -> Reported:
        """The reported state as it is now."""
        models = {name: self._model_report(rollout) for name, rollout in sorted(self.rollouts.items())}
        return Reported(generation_seen=self._desired.generation, refusal=self._refusal, models=models)

    async def damaged(self, stored: StoredModel, complaint: str) -> None:
        """A version on disk is not what it was: it is not to be tried, or gone back to, as it is."""
        rollout = self.rollouts.get(stored.name)
        audit.error("model '%s': version %s is damaged on disk: %s", stored.name, stored.version, complaint)
        if rollout is None:
            return
        try:
            digest = await in_background(lambda: stored.identity(stored.digest()))
            rollout.quarantine(digest, stored.version, f"damaged on disk: {complaint}")
        except EdgexError as error:  # a file that cannot be read is refused when it is loaded
            log.warning("model '%s': version %s could not be quarantined: %s", stored.name, stored.version, error)

    def recheck(self) -> None:
        """Check the requests again: pipelines changed, so a model may serve now, and have been loaded again."""
        for rollout in self.rollouts.values():
            if rollout.record.step is Step.IDLE:
                with contextlib.suppress(EdgexError):  # what cannot be read now stays as it was last known
                    rollout.reread()
        self._remember()
        self._seen = None
        self._hints.put(True)

    def _remember(self) -> None:
        """Models that have been updated before are reported from the start, requested or not."""
        for name in self._journal.names():
            if name not in self.rollouts and self._is_ours(name):
                with contextlib.suppress(EdgexError):  # a request for it is refused with this reason
                    self.rollout(name)
                    self._notify()

    def _hint(self) -> None:
        self._hints.put(True)

    def _notify(self) -> None:
        self._news.put(True)

    async def _check_quarantine(self, name: str, request: ModelRequest) -> None:
        """Refuse at once what the rollout would refuse; a version whose files have changed since may be tried."""
        meant, slot = self._meant(name, request.version), self._served.find(name)
        entries = {it.digest: it for it in self.rollout(name).record.quarantine if it.version == meant}
        if not entries or request.retry or (slot is not None and slot.model.version == meant):
            return
        stored = self._preparer.find(name, meant)
        entry = entries.get(await in_background(lambda: stored.identity(stored.digest())))
        if entry is not None:
            raise Conflict(f"{name}@{meant} is quarantined: {entry.reason}; with `retry` it is tried again")

    async def _write(self, name: str, make: Callable[[Desired], ModelRequest]) -> None:
        """Store the next generation; one writer after another, so that none undoes what another has just requested."""
        async with self._writing:
            before = await self._store.read()
            request = make(before)
            self._preparer.find(name, request.version)
            await self._store.write(before.with_request(name, request))
        self._hints.put(True)

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        running: set[str] = set()
        while True:
            await self._read()
            for rollout in self.rollouts.values():
                rollout.flush()
            before, self._seen = self._seen, self._desired
            for name, request in self._desired.models.items():
                if name not in self.rollouts and not self._is_ours(name):
                    continue
                if name not in running:
                    running.add(name)
                    tasks.create_task(self.rollout(name).follow(), name=f"model:{name}")
                self._hand_out(name, request, before)
            if before is not self._desired:
                self._news.put(True)
            try:
                async with asyncio.timeout(REREAD):
                    await self._hints.get()
            except TimeoutError:
                continue

    def _hand_out(self, name: str, request: ModelRequest, before: Desired | None) -> None:
        """Deploy what is requested if that is new: in the document, or in what an alias or a range means."""
        meant = self._meant(name, request.version)
        if before is self._desired and self._ordered.get(name) == meant:
            return
        if before is not None and (before.models.get(name) != request or self._ordered.get(name, meant) != meant):
            said = meant if meant == request.version else f"{meant} ({request.version})"
            text = "model '%s': version %s is requested by generation %d, asked by %s"
            audit.info(text, name, said, self._desired.generation, request.asked_by or "its writer")
        self._ordered[name] = meant
        self.rollout(name).request(
            Deployment(msgspec.structs.replace(request, version=meant), self._desired.generation)
        )

    def _meant(self, name: str, version: str) -> str:
        """The version that a request means now; what matches nothing stays as it is, and is refused by its rollout."""
        if is_version(version):
            return version
        try:
            return self._preparer.repository.chosen(name, version)
        except (EdgexError, OSError):
            return version

    def _is_ours(self, name: str) -> bool:
        """Whether a pipeline names it, and as a model: a path in a pipeline is not ours to update."""
        is_named = self._served.find(name) is not None or self._served.is_missing(name)
        return is_named and _NAME.fullmatch(name) is not None

    async def _read(self) -> None:
        try:
            desired = await self._store.read()
        except EdgexError as error:
            if str(error) != self._refusal:
                self._refusal = str(error)
                log.warning("%s", error)
                self._news.put(True)
            return
        self._refusal = ""
        if desired != self._desired:
            self._desired = desired

    async def _report(self) -> None:
        said = ""
        while True:
            await self._news.get()
            reported = self.report()
            for listener in self._listeners:
                listener(reported)
            text = reported_text(reported)
            if text != said:
                try:
                    await self._store.report(text)
                    said = text
                except EdgexError as error:
                    log.warning("the reported state could not be stored: %s", error)
            await asyncio.sleep(TELL_EVERY)

    def _serving_version(self, name: str) -> str:
        slot = self._served.find(name)
        if slot is None:
            raise NotFound(f"no model '{name}' serves")
        return slot.model.version

    def _model_report(self, rollout: Rollout) -> ModelReport:
        record, slot = rollout.record, self._served.find(rollout.name)
        is_gated = record.step in (Step.SHADOW, Step.CANARY, Step.OBSERVE)
        candidate = rollout.prepared.model if rollout.prepared else None
        return ModelReport(
            state=record.step,
            active=_version(slot.model) if slot else None,
            previous=_previous(record, slot),
            candidate=_version(candidate, rollout.prepared.load_ms if rollout.prepared else 0.0) if candidate else None,
            reason=rollout.judgement.reason if is_gated else record.reason,
            refused=record.refused,
            since=record.since_ns,
            verdict=rollout.judgement.verdict if is_gated else "",
            gate=rollout.judgement.values,
            quarantined=tuple(it.version for it in record.quarantine),
            quarantine_reasons={it.version: it.reason for it in record.quarantine},
            threshold=slot.threshold if slot else None,
            undrained=rollout.undrained,
        )


def _previous(record: Record, slot: ServedModel | None) -> VersionReport | None:
    """The version to go back to: the warm one until COMMIT, and the one committed before after it."""
    warm = slot.active.warm if slot is not None else None
    version = warm.version if warm is not None else record.previous
    return VersionReport(version) if version else None


def _version(model: Model, load_ms: float = 0.0) -> VersionReport:
    return VersionReport(
        version=model.version,
        digest=model.digest[:12],
        precision=model.precision,
        devices=model.execution_devices,
        load_ms=round(load_ms, 1),
        is_from_cache=model.is_from_cache,
    )

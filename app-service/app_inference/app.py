"""All parts of the service, connected, and the order in which they start and stop.

REST answers at once. When the models are loaded and core-metadata answers, the workers start, the bus delivers frames,
and only then is the service registered. It stops in reverse order, so that the last results are still published.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from edgex_kit.bus.bus import Message
from edgex_kit.service.metrics import metrics_route
from edgex_kit.service.rest import build_app, common_routes, ready_route
from edgex_kit.service.server import serve_on
from edgex_kit.service.service import Service
from edgex_kit.supervision import Lasting, keep
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.topics import matches
from starlette.types import ASGIApp

from app_inference.devices.model_device import ModelStates
from app_inference.devices.service import ModelDeviceService, await_metadata, publish_profiles
from app_inference.pipeline.analysis import FrameAnalyser, Publisher
from app_inference.pipeline.counters import FrameCounters
from app_inference.pipeline.deleted_cameras import follow_deletions
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.names import UnknownNames
from app_inference.pipeline.picture_size import SizeRequests
from app_inference.pipeline.plan import Plan, replanned
from app_inference.pipeline.queue import FrameQueue
from app_inference.pipeline.reload import LivePipelines, follow_pipelines, log_refused, models_in_use, scene_rules
from app_inference.pipeline.serving import Models
from app_inference.pipeline.workers import open_workers
from app_inference.rollout.engine import Engine
from app_inference.rollout.journal import Journal
from app_inference.rollout.metrics import UpdateMeters
from app_inference.rollout.preparation import Preparer
from app_inference.rollout.scrub import Scrubber
from app_inference.rollout.state_store import state_store_of
from app_inference.settings import AppSettings, StoreAndForwardSection
from app_inference.sinks.edgex_bus import EdgexBusSink
from app_inference.sinks.queue import ResultQueue
from app_inference.sinks.store import Limits, MessageStore
from app_inference.web.cameras import KnownCameras
from app_inference.web.routes import closed_until, routes, trigger_route
from app_inference.web.status import Status

SUBSCRIBE_WAIT = 1.0  # seconds for the broker to grant the subscriptions before the service is ready without them
log = logging.getLogger(__name__)


def storing_limits(section: StoreAndForwardSection) -> Limits:
    """The limits as configured; the default ones, and a line in the log, where a value is wrong."""
    try:
        return section.limits()
    except Invalid as error:
        log.warning("%s; the defaults are used", error)
        return Limits()


def result_store(settings: AppSettings) -> MessageStore | None:
    """Where results wait for the broker; None when it is disabled or the folder cannot be used."""
    section, folder = settings.writable.store_and_forward, settings.inference.state_path / "queue" / "bus"
    if not section.enabled:
        return None
    try:
        return MessageStore(folder, storing_limits(section))
    except OSError as error:
        log.warning("results wait in memory alone, as %s cannot be used: %s", folder, error.strerror or error)
        return None


class App:
    """The parts of the service; none of them works before `run`."""

    def __init__(self, service: Service[AppSettings], models: Models, journal: Journal) -> None:
        settings, metrics = service.settings, service.metrics
        inference = settings.inference
        self._service, self._models = service, models
        self._view = LiveView()
        self._counters = FrameCounters(metrics, self._view)
        counted = metrics.counter("ResultsDropped"), metrics.gauge("ResultsWaiting")
        store, drain_rate = result_store(settings), settings.writable.store_and_forward.drain_rate
        sink = EdgexBusSink(service.bus, counted[0])
        self._sink = ResultQueue(sink, inference.outbox_size, *counted, store, drain_rate)
        service.live.on_change(self._follow_storing)
        self._publisher = Publisher(service, self._sink, self._view, self._counters)
        self._analyser = FrameAnalyser(
            service.topics, self._publisher, self._view, self._counters, inference, settings.images.limits
        )
        writable = settings.writable
        wanted, refused = writable.accepted({})
        log_refused(refused, {})
        rules = scene_rules(writable.scenes, {})
        self._analyser.plan = Plan(configured=writable.sources, wanted=wanted, refused=refused, scenes=rules)
        self._queue = FrameQueue(self._counters.refused, self._analyser.forget)
        self._serving = LivePipelines(models, self._analyser, self._view)
        preparation = Preparer(models.repository, models.runtime, inference.keep_versions)
        self._engine = Engine(self._serving, preparation, journal, state_store_of(service))
        states = ModelStates(service.name, models, self._engine, self._view, lambda: models_in_use(self._plan()))
        self._cameras = KnownCameras(service, self._view.live)
        self._names = UnknownNames(service, self._plan, self._cameras.all)
        self._devices = ModelDeviceService(service, states, self._engine, models.repository)

    async def run(self, sock: socket.socket, loading: Awaitable[None]) -> None:
        """Serve on `sock` until cancelled; `loading` ends when the models can be used."""
        service, port = self._service, sock.getsockname()[1]
        inference, loaded = service.settings.inference, asyncio.Event()
        async with self._sink.emptied(), serve_on(self._rest(loaded.is_set), sock):
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self._open_pipelines(loading, loaded), name="models")
                starting.create_task(await_metadata(service), name="core-metadata")
            with open_workers(inference.worker_count, self._queue, self._analyser) as workers:
                async with asyncio.TaskGroup() as tasks:
                    await self._subscribe()
                    tasks.create_task(workers.watch(inference.stuck_after_s), name="watchdog")  # its failure ends us
                    keep(tasks, self._lasting(port))
                    async with service.registered(port):
                        log.info("%s on port %d", service.settings.service.startup_msg, port)
                        await asyncio.Event().wait()

    def _follow_storing(self, settings: AppSettings) -> None:
        section = settings.writable.store_and_forward
        self._sink.configure(storing_limits(section), section.drain_rate)

    def _warning(self, pipeline: str) -> str:
        """What is wrong with the configuration of a pipeline that runs all the same."""
        place = ("Writable", "Pipelines", pipeline)
        refused = [str(it) for it in self._service.live.refused if it.path[:3] == place]
        return "; ".join(filter(None, (*refused, self._names.of(pipeline))))

    def _plan(self) -> Plan:
        """The pipelines in force."""
        return self._analyser.plan

    async def _open_pipelines(self, loading: Awaitable[None], loaded: asyncio.Event) -> None:
        """Put the pipelines in force whose models could be loaded."""
        await loading
        self._analyser.plan = replanned(self._plan(), self._models.served)
        loaded.set()

    def _rest(self, is_loaded: Callable[[], bool]) -> ASGIApp:
        service = self._service
        status = Status(
            service, self._view, self._models, self._plan, self._engine.report, self._cameras.all, self._warning
        )
        triggers = [trigger_route(self._analyser)] if service.settings.trigger.is_http else []
        known = [
            *common_routes(service.name, lambda: service.live.tree, service.secrets),
            metrics_route(service.metrics),
            ready_route(service.name, lambda: service.waits_for or ([] if is_loaded() else ["the models"])),
            *closed_until(is_loaded, [*self._devices.routes(), *triggers]),
            *routes(status, self._view),
        ]
        return build_app(
            known,
            service.settings.service,
            timeout_text="Request timed out",
            guard=service.guard,
            large={trigger.path: 2 * service.settings.images.max_size for trigger in triggers},  # base64, and a margin
        )

    async def _subscribe(self) -> None:
        """Queue the frames of Trigger.SubscribeTopics, but never our own results, which a wide topic covers."""
        service, destination = self._service, self._publisher.destination
        own = destination.pattern if destination else ""

        def receive(message: Message) -> None:
            if not matches(own, message.topic):
                self._queue.put(message.topic, message.data)

        for pattern in service.settings.trigger.patterns:
            service.bus.subscribe(service.topics.below(pattern), receive)
        await service.bus.settle(SUBSCRIBE_WAIT)

    def _lasting(self, port: int) -> Lasting:
        """The tasks that run as long as the service does."""
        service, models, engine, counters = self._service, self._models, self._engine, self._counters
        scrub_every = service.settings.inference.scrub_interval_s
        return {
            "outbox": self._sink.keep_sending,
            "pipelines": partial(follow_pipelines, service, self._serving, self._devices.models_changed),
            "updates": engine.run,
            "scrub": partial(Scrubber(models.repository).run, engine.damaged, scrub_every),
            "update metrics": UpdateMeters(service.metrics, engine.rollouts, models.served, counters.keep_versions).run,
            "model devices": partial(self._devices.run, port),
            "scenes": self._analyser.watch_scenes,
            "deleted cameras": partial(follow_deletions, service, self._view, self._analyser.forget_cameras),
            "lag of core-data": self._publisher.store_lag.run,
            "known cameras": self._cameras.run,
            "unknown names": self._names.run,
            "picture sizes": SizeRequests(service, self._view, self._plan).run,
            "profiles": partial(publish_profiles, service),
            "configuration": service.follow,
            "telemetry": service.report,
        }

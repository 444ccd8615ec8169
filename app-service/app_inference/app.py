"""The service put together around models that are still being loaded, and the order in which its parts begin and end.

REST answers at once. When the models are loaded and core-metadata is there, workers wait at the inbox, the bus fills
it, and only then is the service ready: the registry knows it. In the end they go in reverse: the last results leave
when nobody makes new ones.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from edgex_kit.bus.bus import Message
from edgex_kit.service.exposition import metrics_route
from edgex_kit.service.rest import build_app, common_routes
from edgex_kit.service.server import serve_on
from edgex_kit.service.service import Service
from edgex_kit.supervision import Lasting, keep
from edgex_kit.wire.topics import matches
from starlette.types import ASGIApp

from app_inference.devices.model_state import Standings
from app_inference.devices.service import ModelDoors
from app_inference.devices.startup import await_metadata, publish_profiles
from app_inference.pipeline.analysis import Analyst
from app_inference.pipeline.cores import workers_for
from app_inference.pipeline.counters import Tally
from app_inference.pipeline.deleted_cameras import follow_departures
from app_inference.pipeline.live_view import View
from app_inference.pipeline.picture_size import PictureNeeds
from app_inference.pipeline.plan import Plan, plan_from
from app_inference.pipeline.publishing import Publisher
from app_inference.pipeline.queue import Inbox
from app_inference.pipeline.reload import Serving, follow_pipelines, models_in_use
from app_inference.pipeline.serving import Models
from app_inference.pipeline.workers import open_workers
from app_inference.rollout.engine import Engine
from app_inference.rollout.journal import Journal
from app_inference.rollout.metrics import UpdateMeters
from app_inference.rollout.preparation import Workshop
from app_inference.rollout.scrub import Scrubber
from app_inference.rollout.state_store import intents_of
from app_inference.settings import AppSettings
from app_inference.sinks.edgex_bus import Outbox
from app_inference.web.http_trigger import trigger_route
from app_inference.web.routes import closed_until, routes
from app_inference.web.status import Status

SETTLE = 1.0  # seconds the broker has to grant our subscriptions before we call ourselves ready; it may be away
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Eye:
    """Every part of the service; none of them runs yet."""

    service: Service[AppSettings]
    models: Models
    view: View
    tally: Tally
    outbox: Outbox
    publisher: Publisher
    analyst: Analyst
    inbox: Inbox
    serving: Serving
    engine: Engine
    doors: ModelDoors

    def plan(self) -> Plan:
        """The pipelines in force."""
        return self.analyst.plan


def eye_of(service: Service[AppSettings], models: Models, journal: Journal) -> Eye:
    """The parts, put together. The pipelines are known, and none of them runs."""
    settings, view = service.settings, View()
    tally, outbox = Tally(service.metrics, view), outbox_of(service)
    publisher = Publisher(service, outbox, view, tally)
    analyst = Analyst(service.topics, publisher, view, tally, settings.inference.max_frame_age_s)
    analyst.plan = Plan(wanted=settings.writable.pipelines)
    inbox = Inbox(tally.refused, analyst.forget)
    serving = Serving(models, analyst, view)
    workshop = Workshop(models.repository, models.runtime, settings.inference.keep_versions)
    engine = Engine(serving, workshop, journal, intents_of(service))
    standings = Standings(models, engine, view, lambda: models_in_use(analyst.plan))
    doors = ModelDoors(service, standings, engine, models.repository)
    return Eye(
        service=service,
        models=models,
        view=view,
        tally=tally,
        outbox=outbox,
        publisher=publisher,
        analyst=analyst,
        inbox=inbox,
        serving=serving,
        engine=engine,
        doors=doors,
    )


def outbox_of(service: Service[AppSettings]) -> Outbox:
    """Where results wait for the broker."""
    metrics = service.metrics
    counted = metrics.counter("ResultsDropped"), metrics.gauge("ResultsWaiting")
    return Outbox(service.bus, service.settings.inference.outbox_size, *counted)


async def run(eye: Eye, sock: socket.socket, loading: Awaitable[None]) -> None:
    """Be the whole service on `sock`, until cancelled; `loading` ends when the models can be used."""
    inference, port = eye.service.settings.inference, sock.getsockname()[1]
    opened = asyncio.Event()
    async with eye.outbox.emptied(), serve_on(app_of(eye, opened.is_set), sock):
        async with asyncio.TaskGroup() as starting:
            starting.create_task(open_eye(eye, loading, opened), name="models")
            starting.create_task(await_metadata(eye.service), name="core-metadata")
        with open_workers(workers_for(inference), eye.inbox, eye.analyst) as workers:
            async with asyncio.TaskGroup() as tasks:
                await let_in(eye)
                tasks.create_task(workers.watch(inference.stuck_after_s), name="watchdog")  # its failure ends us
                keep(tasks, lasting_of(eye, port))
                async with eye.service.registered(port):
                    log.info("%s on port %d", eye.service.settings.service.startup_msg, port)
                    await asyncio.Event().wait()


async def open_eye(eye: Eye, loading: Awaitable[None], opened: asyncio.Event) -> None:
    """Begin with the pipelines whose models could be loaded, once they are."""
    await loading
    eye.analyst.plan = plan_from(eye.plan().wanted, eye.models.slots, Plan())
    opened.set()


def app_of(eye: Eye, is_open: Callable[[], bool]) -> ASGIApp:
    """What we say over REST."""
    service, status = eye.service, Status(eye.service, eye.view, eye.models, eye.plan, eye.engine.report)
    triggers = [trigger_route(eye.analyst)] if service.settings.trigger.is_http else []
    known = [
        *common_routes(service.name, lambda: service.live.tree, service.secrets),
        metrics_route(service.metrics),
        *closed_until(is_open, [*eye.doors.routes(), *triggers]),
        *routes(status, eye.view),
    ]
    return build_app(known, service.settings.service, timeout_text="Request timed out", guard=service.guard)


async def let_in(eye: Eye) -> None:
    """Let frames in, and never our own results, which a wide Trigger.SubscribeTopics covers (contract 11, point 79)."""
    service, destination = eye.service, eye.publisher.destination
    own = destination.pattern if destination else ""

    def receive(message: Message) -> None:
        if not matches(own, message.topic):
            eye.inbox.put(message.topic, message.data)

    for pattern in service.settings.trigger.patterns:
        service.bus.subscribe(service.topics.below(pattern), receive)
    await service.bus.settle(SETTLE)


def lasting_of(eye: Eye, port: int) -> Lasting:
    """What goes on as long as the service does."""
    service, models, view, engine = eye.service, eye.models, eye.view, eye.engine
    scrub_every = service.settings.inference.scrub_interval_s
    return {
        "outbox": eye.outbox.keep_sending,
        "pipelines": partial(follow_pipelines, service, eye.serving, eye.doors.models_changed),
        "updates": engine.run,
        "scrub": partial(Scrubber(models.repository).run, engine.damaged, scrub_every),
        "update meters": UpdateMeters(service.metrics, engine.rollouts, models.slots, eye.tally.keep_versions).run,
        "model devices": partial(eye.doors.run, port),
        "departures": partial(follow_departures, service, view, eye.tally, eye.plan),
        "picture needs": PictureNeeds(service, view, eye.plan).run,
        "profiles": partial(publish_profiles, service),
        "configuration": service.follow,
        "telemetry": service.report,
    }

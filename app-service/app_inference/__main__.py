"""`app-inference`: frames come in, OpenVINO looks at them, results go out.

Reading order: the port is taken, the models are loaded and warmed up, workers wait at the inbox, REST answers, the bus
fills the inbox, and only then is the service ready: the registry knows it. In the end they go in reverse: the last
results leave when nobody makes new ones.
"""

import asyncio
import contextlib
import logging
from functools import partial
from importlib.resources import files
from pathlib import Path

from edgex_kit.bus import Message
from edgex_kit.exposition import metrics_route
from edgex_kit.rest import build_app, common_routes
from edgex_kit.server import bind, serve_on
from edgex_kit.service import Service, run
from edgex_kit.supervision import Lasting, keep
from edgex_kit.topics import matches

from app_inference.analysis import Analyst
from app_inference.aside import aside, leave
from app_inference.departures import follow_departures
from app_inference.http_trigger import trigger_route
from app_inference.inbox import Inbox
from app_inference.model_doors import ModelDoors
from app_inference.model_standing import Standings
from app_inference.models import Models
from app_inference.outbox import Outbox
from app_inference.picture_sizes import PictureSizes
from app_inference.pipelines import Plan, plan_from
from app_inference.publishing import Publisher
from app_inference.reload import Serving, follow_pipelines, models_in_use, wanted_models
from app_inference.repository import Repository
from app_inference.routes import routes
from app_inference.settings import AppSettings, InferenceSection
from app_inference.startup import await_metadata, publish_profiles
from app_inference.tally import Tally
from app_inference.updates.boot import Starts
from app_inference.updates.engine import Engine
from app_inference.updates.intents import intents_of
from app_inference.updates.journal import Journal
from app_inference.updates.meters import UpdateMeters
from app_inference.updates.scrub import Scrubber
from app_inference.updates.workshop import Workshop
from app_inference.view import View
from app_inference.workers import open_workers, workers_for

NAME = "app-inference"
SETTLE = 1.0  # seconds the broker has to grant our subscriptions before we call ourselves ready; it may be away
log = logging.getLogger(__name__)


async def serve(service: Service[AppSettings]) -> None:
    """The whole service, until it is cancelled."""
    settings = service.settings
    settings.check()
    inference, pipelines, metrics = settings.inference, settings.writable.pipelines, service.metrics
    with contextlib.closing(bind(settings.service.bind_host, settings.service.port)) as sock:
        journal = Journal(inference.state_path / "journal")
        models = models_of(inference, journal)
        await aside(models.load, wanted_models(pipelines))  # before any worker: see `model`; a signal ends it

        tally = Tally(metrics, view := View())
        outbox = outbox_of(service)
        publisher = Publisher(service, outbox, view, tally)
        analyst = Analyst(service.topics, publisher, view, tally, inference.max_frame_age_s)
        analyst.plan = plan_from(pipelines, models.slots, Plan())
        inbox = Inbox(tally.refused, analyst.forget)
        serving = Serving(models, analyst, view)
        engine = engine_of(service, serving, journal)
        managed = Standings(models, engine, view, lambda: models_in_use(analyst.plan))
        doors = ModelDoors(service, managed, engine, models.repository)
        app = build_app(
            [
                *common_routes(service.name, lambda: service.live.tree, service.secrets),
                metrics_route(metrics),
                *doors.routes(),
                *routes(service, view, models, lambda: analyst.plan, engine.report),
                *([trigger_route(analyst)] if settings.trigger.is_http else []),
            ],
            settings.service,
            timeout_text="Request timed out",
            guard=service.guard,
        )
        async with outbox.emptied():
            with open_workers(workers_for(inference), inbox, analyst) as workers:
                async with serve_on(app, sock), asyncio.TaskGroup() as tasks:
                    await await_metadata(service)
                    await let_in(service, inbox, publisher)
                    tasks.create_task(workers.watch(inference.stuck_after_s), name="watchdog")  # its failure ends us
                    lasting: Lasting = {
                        "outbox": outbox.keep_sending,
                        "pipelines": partial(follow_pipelines, service, serving, doors.models_changed),
                        "updates": engine.run,
                        "scrub": partial(Scrubber(models.repository).run, engine.damaged, inference.scrub_interval_s),
                        "update meters": UpdateMeters(metrics, engine.rollouts, models.slots, tally.keep_versions).run,
                        "model devices": partial(doors.run, sock.getsockname()[1]),
                        "departures": partial(follow_departures, service, view, tally, lambda: analyst.plan),
                        "picture sizes": PictureSizes(service, view, lambda: analyst.plan).run,
                        "profiles": partial(publish_profiles, service),
                        "configuration": service.follow,
                        "telemetry": service.report,
                    }
                    keep(tasks, lasting)
                    async with service.registered(sock.getsockname()[1]):
                        log.info("%s on port %d", settings.service.startup_msg, sock.getsockname()[1])
                        await asyncio.Event().wait()


def models_of(inference: InferenceSection, journal: Journal) -> Models:
    """The models on disk, none of them loaded."""
    repository = Repository(Path(inference.models_dir))
    return Models(inference, repository, Starts(journal, repository))


def engine_of(service: Service[AppSettings], serving: Serving, journal: Journal) -> Engine:
    """What follows the wishes for our models."""
    models = serving.models
    workshop = Workshop(models.repository, models.runtime, service.settings.inference.keep_versions)
    return Engine(serving, workshop, journal, intents_of(service))


def outbox_of(service: Service[AppSettings]) -> Outbox:
    """Where results wait for the broker."""
    metrics = service.metrics
    counted = metrics.counter("ResultsDropped"), metrics.gauge("ResultsWaiting")
    return Outbox(service.bus, service.settings.inference.outbox_size, *counted)


async def let_in(service: Service[AppSettings], inbox: Inbox, publisher: Publisher) -> None:
    """Let frames in, and never our own results, which a wide Trigger.SubscribeTopics covers (contract 11, point 79)."""
    own = publisher.destination.pattern if publisher.destination else ""

    def receive(message: Message) -> None:
        if not matches(own, message.topic):
            inbox.put(message.topic, message.data)

    for pattern in service.settings.trigger.patterns:
        service.bus.subscribe(service.topics.below(pattern), receive)
    await service.bus.settle(SETTLE)


def main() -> None:
    """Entry point."""
    packaged = Path(str(files("app_inference").joinpath("res")))
    leave(run(serve, NAME, "app-services", AppSettings, packaged))


if __name__ == "__main__":
    main()

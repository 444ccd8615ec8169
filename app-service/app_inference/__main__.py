"""`app-inference`: frames come in, OpenVINO looks at them, results go out.

Reading order: the models are loaded and warmed up, then workers wait at the inbox, then the bus fills it, and only then
is the service ready: its REST answers and the registry knows it.
"""

import asyncio
import sys
from importlib.resources import files
from pathlib import Path

from edgex_kit.bus import Message
from edgex_kit.durations import parse_duration
from edgex_kit.rest import build_app, common_routes, open_server
from edgex_kit.service import Service, run

from app_inference.analysis import Analyst
from app_inference.inbox import Inbox
from app_inference.models import Models
from app_inference.outbox import Outbox
from app_inference.pipelines import plan_from
from app_inference.reload import follow_pipelines, wanted_models
from app_inference.routes import routes
from app_inference.settings import AppSettings
from app_inference.startup import await_metadata, publish_profiles
from app_inference.view import View
from app_inference.workers import open_workers, workers_for

NAME = "app-inference"


async def serve(service: Service[AppSettings]) -> None:
    """The whole service, until it is cancelled."""
    settings = service.settings
    settings.check()
    inference, inbox, view = settings.inference, Inbox(), View()

    models = Models(inference)
    models.load(wanted_models(settings))  # on the main thread, before any worker: see `model`

    dropped, waiting = service.metrics.counter("ResultsDropped"), service.metrics.gauge("ResultsWaiting")
    analyst = Analyst(service, Outbox(service.bus, inference.outbox_size, dropped, waiting), view)
    analyst.plan = plan_from(settings.writable.pipelines, models.slots)

    def receive(message: Message) -> None:
        inbox.put(message.topic, message.data)

    app = build_app(
        [*common_routes(service.name, lambda: service.live.tree, service.secrets), *routes(service, view, models)],
        settings.service,
        timeout_text="Request timed out",
    )
    with open_workers(workers_for(inference), inbox, analyst) as workers:
        async with (
            open_server(app, settings.service.bind_host, settings.service.port) as port,
            asyncio.TaskGroup() as tasks,
        ):
            await await_metadata(service)
            for pattern in settings.trigger.patterns:
                service.bus.subscribe(service.topics.below(pattern), receive)
            tasks.create_task(workers.watch(parse_duration(inference.stuck_after)), name="watchdog")
            tasks.create_task(follow_pipelines(service, models, analyst), name="pipelines")
            tasks.create_task(publish_profiles(service), name="profiles")
            tasks.create_task(service.follow(), name="configuration")
            tasks.create_task(service.report(), name="telemetry")
            async with service.registered(port):
                await asyncio.Event().wait()


def main() -> None:
    """Entry point."""
    packaged = Path(str(files("app_inference").joinpath("res")))
    sys.exit(run(serve, NAME, "app-services", AppSettings, packaged))


if __name__ == "__main__":
    main()

"""`app-inference`: frames come in, OpenVINO looks at them, results go out.

The port is taken, the models begin to be read, and what else the service is made of is imported and put together
meanwhile: see `eye`.
"""

import asyncio
import contextlib
from importlib.resources import files
from pathlib import Path

from edgex_kit.ports import bind
from edgex_kit.service import Service, run

from app_inference.aside import aside, in_short_turns, leave
from app_inference.models import Models, wanted_models
from app_inference.repository import Repository
from app_inference.settings import AppSettings
from app_inference.updates.boot import Starts
from app_inference.updates.journal import Journal

NAME = "app-inference"


async def serve(service: Service[AppSettings]) -> None:
    """The whole service, until it is cancelled."""
    settings = service.settings
    settings.check()
    inference = settings.inference
    with contextlib.closing(bind(settings.service.bind_host, settings.service.port)) as sock:
        journal, repository = Journal(inference.state_path / "journal"), Repository(Path(inference.models_dir))
        models = Models(inference, repository, Starts(journal, repository))
        wanted = wanted_models(settings.writable.pipelines)
        loading = asyncio.create_task(aside(models.load, wanted), name="loading")  # a signal ends it
        await asyncio.sleep(0)  # it has begun, and needs Python little
        with in_short_turns():
            from app_inference.eye import eye_of, watch
        await watch(eye_of(service, models, journal), sock, loading)


def main() -> None:
    """Entry point."""
    packaged = Path(str(files("app_inference").joinpath("res")))
    leave(run(serve, NAME, "app-services", AppSettings, packaged))


if __name__ == "__main__":
    main()

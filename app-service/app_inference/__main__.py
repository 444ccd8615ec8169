"""`app-inference`: frames come in, OpenVINO looks at them, results go out.

The port is taken, the models begin to be read, and what else the service is made of is imported and put together
meanwhile: see `eye`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from pathlib import Path

from edgex_kit.service.ports import bind
from edgex_kit.service.service import Service, run

from app_inference.background import aside, in_short_turns, leave
from app_inference.models.repository import Repository
from app_inference.pipeline.serving import Models, wanted_models
from app_inference.rollout.boot import Starts
from app_inference.rollout.journal import Journal
from app_inference.settings import AppSettings, PipelineSection

NAME = "app-inference"


async def serve(service: Service[AppSettings]) -> None:
    """The whole service, until it is cancelled."""
    settings = service.settings
    settings.check()
    inference = settings.inference
    with contextlib.closing(bind(settings.service.bind_host, settings.service.port)) as sock:
        journal, repository = Journal(inference.state_path / "journal"), Repository(Path(inference.models_dir))
        models = Models(inference, repository, Starts(journal, repository))
        async with _loading(models, wanted_models(settings.writable.pipelines)) as loading:
            with in_short_turns():
                from app_inference import app as eye
            await eye.run(eye.eye_of(service, models, journal), sock, loading)


@contextlib.asynccontextmanager
async def _loading(models: Models, wanted: Mapping[str, PipelineSection]) -> AsyncIterator[asyncio.Task[None]]:
    """Models begin to be read; what ends the block, a signal or an error, ends the wait for them."""
    loading = asyncio.create_task(aside(models.load, wanted), name="loading")
    try:
        await asyncio.sleep(0)  # it has begun, and needs Python little
        yield loading
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


def main() -> None:
    """Entry point."""
    packaged = Path(str(files("app_inference").joinpath("res")))
    leave(run(serve, NAME, "app-services", AppSettings, packaged))


if __name__ == "__main__":
    main()

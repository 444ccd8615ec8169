"""`app-inference`: it subscribes to camera frames, runs OpenVINO on them and publishes the results.

The port is bound and the models begin to load; the rest of the service, `app`, is imported meanwhile.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from pathlib import Path

from edgex_kit.service.service import Service, run
from edgex_kit.supervision import every, retry

from app_inference.background import exit_process, in_background, short_switch_interval
from app_inference.models.repository import Repository
from app_inference.pipeline.serving import Models, wanted_models
from app_inference.rollout.journal import Journal, Starts, hold
from app_inference.settings import AppSettings, PipelineSection

NAME = "app-inference"
STATE_WAIT = 10.0  # seconds; what a stop takes at the most


async def serve(service: Service[AppSettings]) -> None:
    """Run the whole service until it is cancelled."""
    settings = service.settings
    settings.check()
    inference = settings.inference
    with await _held(service):
        journal = Journal(inference.state_path / "journal")
        repository = Repository(Path(inference.models_dir), inference.require_digests)
        models = Models(inference, repository, Starts(journal, repository))
        async with _loading(models, wanted_models(settings.writable.accepted({})[0])) as loading:
            with short_switch_interval():
                from app_inference.app import App
            await App(service, models, journal).run(service.socket, loading)


async def _held(service: Service[AppSettings]) -> contextlib.AbstractContextManager[object]:
    """Keep the state of updates for this process; another that is just stopping is waited for. Raises Unavailable."""
    folder = service.settings.inference.state_path

    async def attempt() -> contextlib.AbstractContextManager[object]:
        return hold(folder, service.name)

    within = min(service.flags.startup_s, STATE_WAIT)
    return await retry(attempt, "the state of updates is not ours yet", backoff=every(0.2), within=within)


@contextlib.asynccontextmanager
async def _loading(models: Models, wanted: Mapping[str, PipelineSection]) -> AsyncIterator[asyncio.Task[None]]:
    """Load models in the background for the length of the block; what ends the block also ends the wait for them."""
    loading = asyncio.create_task(in_background(models.load, wanted), name="loading")
    try:
        await asyncio.sleep(0)  # the thread starts; it rarely holds the interpreter's lock
        yield loading
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


def main() -> None:
    """Entry point."""
    packaged = Path(str(files("app_inference").joinpath("res")))
    exit_process(run(serve, NAME, "app-services", AppSettings, packaged))


if __name__ == "__main__":
    main()

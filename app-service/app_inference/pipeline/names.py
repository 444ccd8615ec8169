"""Names in pipelines that nothing has: labels of a model, cameras of core-metadata. Each is logged once."""

import asyncio
import difflib
import logging
from collections.abc import Callable, Collection, Iterable

from edgex_kit.service.service import Service
from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.pipeline.plan import Pipeline, Plan
from app_inference.settings import AppSettings

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds between two checks


def unknown_labels(pipeline: Pipeline) -> list[str]:
    """What a pipeline's Labels name and its serving model does not have, in words."""
    known = pipeline.served.model.labels
    return [f"label '{it}'{_meant(it, known)}" for it in sorted(pipeline.labels.difference(known))] if known else []


class UnknownNames:
    """Checks the pipelines in force again and again; `cameras` returns those of core-metadata."""

    def __init__(
        self, service: Service[AppSettings], plan: Callable[[], Plan], cameras: Callable[[], Collection[str]]
    ) -> None:
        self._service = service
        self._plan = plan
        self._cameras = cameras
        self._found: dict[str, list[str]] = {}  # pipeline -> what it names and nothing has

    def of(self, pipeline: str) -> str:
        """What a pipeline names and nothing has; empty where there is nothing wrong."""
        return ", ".join(self._found.get(pipeline, ()))

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            found: dict[str, list[str]] = {}
            for pipeline in self._plan().pipelines:
                names = unknown_labels(pipeline) + await self._unknown_cameras(pipeline)
                for name in names:
                    if name not in self._found.get(pipeline.id, ()):
                        log.warning("pipeline '%s' names what does not exist: %s", pipeline.id, name)
                found[pipeline.id] = names
            self._found = found
            await asyncio.sleep(INTERVAL)

    async def _unknown_cameras(self, pipeline: Pipeline) -> list[str]:
        known, unknown = self._cameras(), []
        for camera in sorted((pipeline.cameras or frozenset()).difference(known)):
            try:
                await self._service.metadata.device(camera)  # it may be added in this moment, or be no camera of ours
            except NotFound:
                unknown.append(f"camera '{camera[:80]}'{_meant(camera, known)}")
            except EdgexError:  # others report that core-metadata does not answer
                return [it for it in self._found.get(pipeline.id, ()) if it.startswith("camera ")]
        return unknown


def _meant(name: str, known: Iterable[str]) -> str:
    """The nearest known name, as a question; empty where none is near."""
    by_lower = {it.lower(): it for it in known}
    near = difflib.get_close_matches(name.lower()[:80], by_lower, 1, 0.7)
    return f" (is '{by_lower[near[0]]}' meant?)" if near else ""

"""One model's old versions leave the disk once an update is over, beside whatever is wished next.

What is wished for stays, and who wants a version waits until nothing is being removed: it is there then, or it is not.
"""

import asyncio
import contextlib

from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import Invalid, NotFound

from app_inference.rollout.deployment_queue import DeploymentQueue
from app_inference.rollout.preparation import Preparer
from app_inference.rollout.progress import Progress
from app_inference.rollout.served import ServedModels


class Clearance:
    """Removes what retention lets go of one model."""

    def __init__(
        self, name: str, preparer: Preparer, progress: Progress, served: ServedModels, deployments: DeploymentQueue
    ) -> None:
        self._name = name
        self._preparer = preparer
        self._progress = progress
        self._served = served
        self._queue = deployments
        self._due: Latest[bool] = Latest()
        self._removing = asyncio.Lock()

    def begin(self) -> None:
        """Remove old versions soon; nobody waits for it."""
        self._due.put(True)

    async def over(self) -> None:
        """Wait until nothing is being removed."""
        async with self._removing:
            return

    async def run(self) -> None:
        """Remove whenever it is due, for ever."""
        while True:
            await self._due.get()
            async with self._removing:
                await self._preparer.prune(self._name, self._progress.record.active, self._needed)

    def _needed(self) -> set[str]:
        """Versions that stay on disk whatever retention says; asked on the removing thread, before each removal."""
        record = self._progress.record
        return {record.active, record.previous, *self._served.in_use(self._name), *self._requested()}

    def _requested(self) -> set[str]:
        """The version that the newest wish means, which may be an alias or a range; none where nothing fits."""
        newest = self._queue.newest
        if newest is None:
            return set()
        with contextlib.suppress(NotFound, Invalid):  # the attempt will say so
            return {self._preparer.repository.chosen(self._name, newest.request.version)}
        return set()

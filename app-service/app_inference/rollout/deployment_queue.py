"""Wishes for one model, as they come: the newest counts, and takes the one that is being followed off its way."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edgex_kit.bus.queues import Latest

from app_inference.rollout.desired import ModelRequest


@dataclass(frozen=True, slots=True)
class Deployment:
    """A wish and the generation of the document it came with."""

    request: ModelRequest
    generation: int

    def adjusts(self, other: "Deployment") -> bool:
        """Whether it asks for the same as `other`, with other limits or a word on how to go on."""
        return (self.request.version, self.request.strategy) == (other.request.version, other.request.strategy)


class DeploymentQueue:
    """What is being followed (`now`), and what was wished last (`newest`), which is followed next."""

    def __init__(self) -> None:
        self.now: Deployment | None = None
        self.newest: Deployment | None = None
        self._coming: Latest[Deployment] = Latest()

    def put(self, deployment: Deployment) -> None:
        """Follow `order` from now on, instead of any other."""
        self.newest = deployment
        self._coming.put(deployment)

    async def follow(
        self,
        name: str,
        attempt: Callable[[Deployment], Coroutine[Any, Any, None]],
        adjust: Callable[[Deployment], None],
        take_back: Callable[[], None],
    ) -> None:
        """Attempt order after order, for ever. One that is overtaken is cancelled and taken back first."""
        deployment = await self._coming.get()
        while True:
            self.now = deployment  # before it begins: the next may be here by then, and is held against this one
            task = asyncio.create_task(attempt(deployment), name=name)
            try:
                deployment = await self._next(task, adjust)
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task})
                    take_back()
            finally:
                task.cancel()

    async def _next(self, attempt: asyncio.Task[None], adjust: Callable[[Deployment], None]) -> Deployment:
        """The next order that asks for something else. One that only adjusts what is being done is taken over."""
        while True:
            deployment = await self._coming.get()
            if attempt.done() or self.now is None or not deployment.adjusts(self.now):
                return deployment
            self.now = deployment
            adjust(deployment)

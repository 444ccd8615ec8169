"""Wishes for one model, as they come: the newest counts, and takes the one that is being followed off its way."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edgex_kit.bus.queues import Latest

from app_inference.rollout.desired import ModelWish


@dataclass(frozen=True, slots=True)
class Order:
    """A wish and the generation of the document it came with."""

    wish: ModelWish
    generation: int

    def adjusts(self, other: "Order") -> bool:
        """Whether it asks for the same as `other`, with other limits or a word on how to go on."""
        return (self.wish.version, self.wish.strategy) == (other.wish.version, other.wish.strategy)


class Orders:
    """What is being followed (`now`), and what was wished last (`newest`), which is followed next."""

    def __init__(self) -> None:
        self.now: Order | None = None
        self.newest: Order | None = None
        self._coming: Latest[Order] = Latest()

    def put(self, order: Order) -> None:
        """Follow `order` from now on, instead of any other."""
        self.newest = order
        self._coming.put(order)

    async def follow(
        self,
        name: str,
        attempt: Callable[[Order], Coroutine[Any, Any, None]],
        adjust: Callable[[Order], None],
        take_back: Callable[[], None],
    ) -> None:
        """Attempt order after order, for ever. One that is overtaken is cancelled and taken back first."""
        order = await self._coming.get()
        while True:
            self.now = order  # before it begins: the next may be here by then, and is held against this one
            task = asyncio.create_task(attempt(order), name=name)
            try:
                order = await self._next(task, adjust)
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task})
                    take_back()
            finally:
                task.cancel()

    async def _next(self, attempt: asyncio.Task[None], adjust: Callable[[Order], None]) -> Order:
        """The next order that asks for something else. One that only adjusts what is being done is taken over."""
        while True:
            order = await self._coming.get()
            if attempt.done() or self.now is None or not order.adjusts(self.now):
                return order
            self.now = order
            adjust(order)

"""Two queues between threads and asyncio; the name says what happens when the consumer is slow."""

import asyncio
import collections
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class Latest(Generic[T]):
    """Holds one item; a new one replaces one that was not taken. Any thread puts, one asyncio task takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: T | None = None
        self._waiter: Waiter | None = None
        self._taker: Callable[[T], object] | None = None

    def put(self, item: T) -> bool:
        """Store `item`; True when it replaced one that was not taken."""
        with self._lock:
            taker = self._taker
            if taker is None:
                replaced, self._item = self._item is not None, item
                waiter, self._waiter = self._waiter, None
        if taker is not None:
            taker(item)
            return False
        _wake(waiter)
        return replaced

    @contextlib.contextmanager
    def given_to(self, taker: Callable[[T], object]) -> Iterator[None]:
        """Within the block `put` calls `taker`, which must not block or raise, on the thread that puts.

        `taker` gets the item that was stored before anything newer; `put` waits meanwhile.
        """
        with self._lock:
            item, self._item = self._item, None
            if item is not None:
                taker(item)
            self._taker = taker
        try:
            yield
        finally:
            self._taker = None

    def take(self) -> T | None:
        """Take the item without waiting; None when there is none."""
        with self._lock:
            item, self._item = self._item, None
        return item

    async def get(self) -> T:
        """Wait for an item and take it. A cancelled wait takes nothing."""
        while True:
            with self._lock:
                item, self._item = self._item, None
                if item is not None:
                    return item
                event = asyncio.Event()
                self._waiter = (asyncio.get_running_loop(), event)
            await event.wait()


class Bounded(Generic[T]):
    """A queue of at most `size` items; when it is full the oldest is dropped and counted. Any thread puts, one asyncio
    task takes, with `get` or an `async for` that does not end."""

    def __init__(self, size: int) -> None:
        self.dropped = 0
        self._lock = threading.Lock()
        self._items: collections.deque[T] = collections.deque()
        self._size = size
        self._waiter: Waiter | None = None

    def put(self, item: T) -> None:
        """Append `item`."""
        with self._lock:
            if len(self._items) >= self._size:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            waiter, self._waiter = self._waiter, None
        _wake(waiter)

    async def get(self) -> T:
        """Wait for the oldest item and take it. A cancelled wait takes nothing."""
        while True:
            with self._lock:
                if self._items:
                    return self._items.popleft()
                event = asyncio.Event()
                self._waiter = (asyncio.get_running_loop(), event)
            await event.wait()

    def clear(self) -> int:
        """Drop everything that waits; how many items it was."""
        with self._lock:
            taken = len(self._items)
            self._items.clear()
        return taken

    def __len__(self) -> int:
        return len(self._items)

    def __aiter__(self) -> "Bounded[T]":
        return self

    async def __anext__(self) -> T:
        return await self.get()


def _wake(waiter: Waiter | None) -> None:
    """Wake the consumer in its loop, unless that has closed."""
    if waiter is None or waiter[0].is_closed():
        return
    loop, event = waiter
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:  # closed between the check and the call
        return

"""The two ways a thing passes from one thread to another; what happens when the taker is slow is in the name."""

import asyncio
import collections
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class Latest(Generic[T]):
    """One place; a new item replaces one that was not taken. Any thread puts, one asyncio task takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: T | None = None
        self._waiter: Waiter | None = None
        self._taker: Callable[[T], object] | None = None

    def put(self, item: T) -> bool:
        """Leave `item`; True when it replaced one that nobody took."""
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
        """Within the block nothing is left here: `taker`, which must not block or raise, is called by who puts.

        It has what was left here before anything newer; who puts meanwhile waits.
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
        """What is there, or None, without waiting."""
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
    """A queue of at most `size`; when full the oldest goes and is counted. Any thread puts, one asyncio task takes,
    with `get` or an `async for` that does not end."""

    def __init__(self, size: int) -> None:
        self.dropped = 0
        self._lock = threading.Lock()
        self._items: collections.deque[T] = collections.deque()
        self._size = size
        self._waiter: Waiter | None = None

    def put(self, item: T) -> None:
        """Leave `item` at the end."""
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
        """Take everything that waits at once; how many it was."""
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
    """Cross into the taker's loop; a loop that has closed has nobody left to wake."""
    if waiter is None or waiter[0].is_closed():
        return
    loop, event = waiter
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:  # closed between the check and the call
        return

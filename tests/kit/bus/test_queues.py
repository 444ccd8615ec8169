"""Passing things between threads: newest wins, or bounded and counted."""

import asyncio
import threading

import pytest
from edgex_kit.bus.queues import Bounded, Latest


async def test_the_newest_replaces_what_nobody_took() -> None:
    box: Latest[int] = Latest()
    assert box.put(1) is False
    assert box.put(2) is True
    assert await box.get() == 2
    assert box.take() is None


async def test_a_waiting_taker_is_woken_by_another_thread() -> None:
    box: Latest[int] = Latest()
    taking = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    thread = threading.Thread(target=box.put, args=(7,))
    thread.start()
    assert await taking == 7
    thread.join()


async def test_a_cancelled_wait_takes_nothing() -> None:
    box: Latest[int] = Latest()
    queue: Bounded[int] = Bounded(3)
    for taking in (asyncio.create_task(box.get()), asyncio.create_task(queue.get())):
        await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    box.put(1)
    queue.put(2)
    assert await box.get() == 1
    assert await queue.get() == 2


async def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    queue: Bounded[int] = Bounded(2)
    for item in range(5):
        queue.put(item)
    assert len(queue) == 2
    assert queue.dropped == 3
    assert [await queue.get(), await queue.get()] == [3, 4]


async def test_a_queue_is_emptied_at_once() -> None:
    queue: Bounded[int] = Bounded(5)
    queue.put(1)
    queue.put(2)
    assert queue.clear() == 2
    assert len(queue) == 0
    assert queue.dropped == 0


async def test_everything_put_by_many_threads_is_taken_in_order_of_each() -> None:
    queue: Bounded[tuple[int, int]] = Bounded(10_000)
    threads = [
        threading.Thread(target=lambda who=who: [queue.put((who, item)) for item in range(500)]) for who in range(4)
    ]
    for thread in threads:
        thread.start()
    taken: dict[int, list[int]] = {who: [] for who in range(4)}
    async with asyncio.timeout(10):
        async for who, item in queue:
            taken[who].append(item)
            if sum(map(len, taken.values())) == 2000:
                break
    for thread in threads:
        thread.join()
    assert all(items == list(range(500)) for items in taken.values())


async def test_no_wakeup_is_lost_between_a_fast_giver_and_a_fast_taker() -> None:
    box: Latest[int] = Latest()
    last = 20_000
    thread = threading.Thread(target=lambda: [box.put(item) for item in range(1, last + 1)])
    thread.start()
    async with asyncio.timeout(10):
        while await box.get() != last:
            pass
    thread.join()


def test_a_taker_whose_loop_has_closed_is_nobody_to_wake() -> None:
    box: Latest[int] = Latest()
    queue: Bounded[int] = Bounded(1)

    async def wait_a_little() -> None:
        for take in (box.get, queue.get):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await take()

    asyncio.run(wait_a_little())
    assert box.put(1) is False
    queue.put(1)
    assert len(queue) == 1


def test_a_taker_is_called_by_the_thread_that_puts_for_as_long_as_it_wants() -> None:
    box: Latest[int] = Latest()
    taken: list[tuple[int, threading.Thread]] = []
    box.put(1)
    with box.given_to(lambda item: taken.append((item, threading.current_thread()))):
        assert [item for item, _ in taken] == [1]
        thread = threading.Thread(target=box.put, args=(2,))
        thread.start()
        thread.join()
        assert box.put(3) is False
    assert [item for item, _ in taken] == [1, 2, 3]
    assert taken[1][1] is thread
    assert box.put(4) is False
    assert box.take() == 4


def test_who_puts_while_a_taker_has_what_was_left_waits_its_turn() -> None:
    box: Latest[int] = Latest()
    taken: list[int] = []
    within = threading.Lock()
    box.put(1)
    threads: list[threading.Thread] = []

    def take(item: int) -> None:
        assert within.acquire(blocking=False), "two threads at once"
        taken.append(item)
        if item == 1:
            threads.append(threading.Thread(target=box.put, args=(2,)))
            threads[0].start()
            threads[0].join(0.1)
        within.release()

    with box.given_to(take):
        threads[0].join(5)
        assert taken == [1, 2]

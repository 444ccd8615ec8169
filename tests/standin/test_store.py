import asyncio
import sqlite3
from pathlib import Path

import pytest
from edgex_kit.wire.errors import Conflict, Unavailable
from edgex_standin.keeper import kv
from edgex_standin.store import IN_MEMORY, open_store


async def test_a_job_that_fails_leaves_no_trace() -> None:
    def half(db: sqlite3.Connection) -> None:
        kv.put(db, "a", "1")
        raise Conflict("no")

    async with open_store(IN_MEMORY) as store:
        with pytest.raises(Conflict):
            await store.run(half)
        assert await store.run(lambda db: kv.find(db, "a")) == []


async def test_jobs_of_many_tasks_do_not_mix() -> None:
    def add(db: sqlite3.Connection) -> None:
        (pair,) = kv.find(db, "n")
        kv.put(db, "n", str(int(pair.value) + 1))

    async with open_store(IN_MEMORY) as store:
        await store.run(lambda db: kv.put(db, "n", "0"))
        await asyncio.gather(*(store.run(add) for _ in range(200)))
        assert [pair.value for pair in await store.run(lambda db: kv.find(db, "n"))] == ["200"]


async def test_the_event_loop_goes_on_while_a_job_takes_its_time() -> None:
    def slow(db: sqlite3.Connection) -> int:
        return int(db.execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) select count(*) from n"
        ).fetchone()[0])  # fmt: skip

    async with open_store(IN_MEMORY) as store:
        job = asyncio.create_task(store.run(slow))
        turns = 0
        while not job.done():
            await asyncio.sleep(0)
            turns += 1
        assert (job.result(), turns > 10) == (300000, True)


async def test_a_folder_is_open_once(tmp_path: Path) -> None:
    async with open_store(str(tmp_path / "a" / "b")):
        with pytest.raises(Unavailable, match=r"another edgex-standin keeps its state in .*; stop it or choose"):
            async with open_store(str(tmp_path / "a" / "b")):
                pass
    async with open_store(str(tmp_path / "a" / "b")):
        pass

"""Everything the stand-in remembers, in one SQLite file with one owner: this process, and in it one thread.

Each job is one transaction on the store's own thread, so nothing that waits for a disk waits on the event loop.
WAL with synchronous=NORMAL: what a job has committed outlives kill -9; a power cut may cost the last moments, never the
file (sqlite.org/wal.html).
"""

import asyncio
import contextlib
import fcntl
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edgex_kit.wire.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

IN_MEMORY = ":memory:"
FORMAT = 1  # of the file; another number is another product's or another version's

_TABLES = """
create table if not exists kv (
    key text primary key, value text not null, created integer not null, modified integer not null);
create table if not exists document (
    kind text not null, name text not null, id text not null, created integer not null, doc text not null,
    primary key (kind, name));
create unique index if not exists document_id on document (kind, id);
create index if not exists document_created on document (kind, created);
create table if not exists event (
    seq integer primary key, id text not null, device text not null, profile text not null, source text not null,
    origin integer not null, tags text, bytes integer not null);
create index if not exists event_id on event (id);
create index if not exists event_origin on event (origin);
create index if not exists event_device on event (device, origin);
create table if not exists event_total (events integer not null, bytes integer not null);
insert into event_total select 0, 0 where not exists (select 1 from event_total);
create trigger if not exists event_counted after insert on event
    begin update event_total set events = events + 1, bytes = bytes + new.bytes; end;
create trigger if not exists event_discounted after delete on event
    begin update event_total set events = events - 1, bytes = bytes - old.bytes; end;
create table if not exists device_info (
    device text not null, profile text not null, source text not null, tags text not null,
    primary key (device, profile, source, tags)) without rowid;
create table if not exists reading (
    seq integer primary key, event_id text not null, origin integer not null, device text not null,
    profile text not null, resource text not null, type text not null, units text, tags text, value text,
    binary blob, media text, object text);
create index if not exists reading_event on reading (event_id);
create index if not exists reading_origin on reading (origin);
create index if not exists reading_device on reading (device, resource, origin);
create index if not exists reading_resource on reading (resource, origin);
"""


class Store:
    """The open file; made by `open_store`."""

    def __init__(self, thread: ThreadPoolExecutor, db: sqlite3.Connection) -> None:
        self._thread = thread
        self._db = db

    async def run(self, job: Job[T]) -> T:
        """Do `job` as one transaction, undone by any exception. Raises Unavailable when the state cannot be written."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_transaction, job)

    def _in_transaction(self, job: Job[T]) -> T:
        try:
            self._db.execute("begin immediate")
            try:
                result = job(self._db)
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:  # SQLite ends it by itself when the disk is full
                    self._db.execute("rollback")
                raise
            return result
        except sqlite3.OperationalError as error:  # a full disk, among others
            raise Unavailable(f"the state cannot be written: {error}") from error


@contextlib.asynccontextmanager
async def open_store(folder: str) -> AsyncIterator[Store]:
    """The state kept in `folder`, or nowhere for ":memory:". Raises Unavailable when another process has it."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="store")
    try:
        with _path_of(folder) as path:
            db = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
            try:
                yield Store(thread, db)
            finally:
                await asyncio.get_running_loop().run_in_executor(thread, db.close)
    finally:
        thread.shutdown()


@contextlib.contextmanager
def _path_of(folder: str) -> Iterator[str]:
    """The file's path, held by us alone for the length of the block."""
    if folder == IN_MEMORY:
        yield IN_MEMORY
        return
    place = Path(folder).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / "lock").open("w")
    except OSError as error:
        raise Unavailable(
            f"the state cannot be kept in {place}: {error.strerror}; choose a folder with --state"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it when we die, however we die
        except OSError as error:
            text = f"another edgex-standin keeps its state in {place}; stop it or choose a folder with --state"
            raise Unavailable(text) from error
        yield str(place / "edgex.sqlite")


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
    try:
        db.executescript("pragma journal_mode=wal; pragma synchronous=normal; pragma temp_store=memory;")
        found = int(db.execute("pragma user_version").fetchone()[0])
        if found not in (0, FORMAT):
            raise Unavailable(f"{path} has format {found}, this version reads format {FORMAT}; choose another --state")
        db.executescript(_TABLES)
        db.execute(f"pragma user_version={FORMAT}")
    except sqlite3.DatabaseError as error:
        db.close()
        raise Unavailable(f"{path} cannot be read ({error}); move it away or choose another --state") from error
    except Unavailable:
        db.close()
        raise
    return db

"""Messages on disk until they are acknowledged: a log of small files, the oldest of which can always be deleted.

Files rather than a database, as a database cannot shrink on a full disk: deleting a file always works there. Nothing is
written while messages are acknowledged. After a crash the oldest file is sent again as a whole, so its messages may
come twice, with the same ids.
"""

import contextlib
import os
import shutil
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SEGMENT = 1 << 20  # bytes of a file, about
SUFFIX = ".log"
FIRST = 500_000_000_000  # number of the first file; some may have to go before it
_HEAD = struct.Struct("<IIQI")  # length of the body, its CRC-32, when it was stored (UNIX ns), length of the topic


class Message(NamedTuple):
    """An encoded result."""

    topic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept; beyond it the oldest goes."""

    max_bytes: int = 256 << 20
    max_age_s: float = 7 * 86400.0
    min_free: int = 512 << 20  # bytes that stay free on the file system


@dataclass(slots=True)
class Segment:
    """One file."""

    path: Path
    size: int
    count: int
    newest_ns: int  # when its last message was stored


class Full(OSError):
    """There is no room for more, and nothing older that could be deleted."""


class MessageStore:
    """The log in one folder, which nobody else writes. Blocking; one thread at a time.

    Raises OSError when the folder cannot be used.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.limits = limits
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._segments = [_scan(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
        self._segments = [it for it in self._segments if it.count or _deleted(it.path)]
        self._next = 1 + max((int(it.path.stem) for it in self._segments), default=FIRST)
        self._is_open = False  # whether the newest segment takes more; that of an earlier run does not

    @property
    def count(self) -> int:
        """Messages in it."""
        return sum(it.count for it in self._segments)

    def append(self, messages: Sequence[Message]) -> int:
        """Store messages as one group, written through to the disk; how many older ones were deleted for them.

        Raises Full, or OSError. Then none of them is stored.
        """
        now = time.time_ns()
        data = b"".join(_record(message, now) for message in messages)
        lost = self._make_room(len(data))
        if not self._is_open or self._segments[-1].size >= SEGMENT:
            self._segments.append(Segment(self._path(self._next), 0, 0, now))
            self._next, self._is_open = self._next + 1, True
        try:
            lost += self._write(self._segments[-1], data, len(messages), now)
        except OSError:
            if not self._segments[-1].count:
                self._forget(self._segments.pop())
            raise
        return lost

    def put_first(self, messages: Sequence[Message]) -> None:
        """Store messages that are older than all others. Raises OSError."""
        now = time.time_ns()
        number = (int(self._segments[0].path.stem) if self._segments else self._next) - 1
        segment = Segment(self._path(number), 0, 0, now)
        self._segments.insert(0, segment)
        try:
            self._write(segment, b"".join(_record(message, now) for message in messages), len(messages), now)
        except OSError:
            self.remove(segment)
            raise

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}{SUFFIX}"

    def oldest(self) -> tuple[Segment, list[Message]] | None:
        """The oldest file with its messages, in order. None when there is none. It takes no more."""
        while self._segments:
            segment = self._segments[0]
            if len(self._segments) == 1:
                self._is_open = False
            messages = _read(segment.path)
            if messages:
                return segment, messages
            self.remove(segment)
        return None

    def remove(self, segment: Segment) -> None:
        """Delete a file whose messages are acknowledged."""
        if segment in self._segments:
            self._segments.remove(segment)
            self._is_open = self._is_open and bool(self._segments)
        self._forget(segment)

    def expire(self) -> int:
        """Delete files that are too old; how many messages were in them."""
        before = time.time_ns() - self.limits.max_age_s * 1e9
        lost = 0
        while self._segments and self._segments[0].newest_ns < before:
            lost += self._drop_oldest()
        return lost

    def _make_room(self, size: int) -> int:
        lost = 0
        while self._segments and sum(it.size for it in self._segments) + size > self.limits.max_bytes:
            lost += self._drop_oldest()
        if shutil.disk_usage(self._folder).free < self.limits.min_free:
            raise Full(28, f"less than {self.limits.min_free >> 20} MB are free")
        return lost

    def _write(self, segment: Segment, data: bytes, count: int, now: int) -> int:
        lost = 0
        for is_last in (False, True):
            try:
                with open(segment.path, "ab", opener=_private) as file:
                    file.write(data)
                    file.flush()
                    os.fdatasync(file.fileno())
                break
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(segment.path, segment.size)
                if is_last or self._segments[0] is segment:
                    raise
                lost += self._drop_oldest()
        segment.size, segment.count, segment.newest_ns = segment.size + len(data), segment.count + count, now
        return lost

    def _drop_oldest(self) -> int:
        segment = self._segments.pop(0)
        self._is_open = self._is_open and bool(self._segments)
        self._forget(segment)
        return segment.count

    @staticmethod
    def _forget(segment: Segment) -> None:
        with contextlib.suppress(OSError):
            segment.path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _deleted(path: Path) -> bool:
    """Delete a file without a whole message; always False."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return False


def _record(message: Message, now: int) -> bytes:
    topic = message.topic.encode()
    body = topic + message.data
    return _HEAD.pack(len(body), zlib.crc32(body), now, len(topic)) + body


def _scan(path: Path) -> Segment:
    messages = list(_records(path))
    return Segment(path, path.stat().st_size, len(messages), messages[-1][0] if messages else 0)


def _read(path: Path) -> list[Message]:
    return [message for _, message in _records(path)]


def _records(path: Path) -> list[tuple[int, Message]]:
    """The whole messages of a file; what a crash has cut off or the disk has changed ends it."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    found, at = [], 0
    while at + _HEAD.size <= len(data):
        size, crc, stored_ns, topic = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + size]
        if len(body) < size or topic > size or zlib.crc32(body) != crc:
            break
        found.append((stored_ns, Message(body[:topic].decode(errors="replace"), body[topic:])))
        at += _HEAD.size + size
    return found

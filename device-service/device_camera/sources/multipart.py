"""multipart/x-mixed-replace, taken apart as it comes: bytes in, whole parts out.

Cameras differ from RFC 2046 in three ways that are accepted here: the boundary parameter already has its dashes,
there is no Content-Length, there are no part headers at all.
"""

import re

from edgex_kit.wire.errors import Malformed

_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
_BLANK = re.compile(rb"\r?\n\r?\n")
_LONGEST_HEAD = 16 * 1024  # bytes
LARGEST_PART = 64 * 1024 * 1024  # bytes


class Multipart:
    """Feed it what arrives; it keeps no more than one part that is not whole yet."""

    def __init__(self, boundary: str, largest: int = LARGEST_PART) -> None:
        self.is_over = False  # the closing boundary came
        self._delimiter = (boundary if boundary.startswith("--") else f"--{boundary}").encode()
        self._largest = largest
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer known to hold no delimiter
        self._is_in_part = False
        self._left: int | None = None  # bytes the part has, when it says so

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that are whole now. Raises Malformed when the stream is none."""
        self._buffer += data
        parts = []
        while not self.is_over:
            if not self._is_in_part and not self._enter():
                break
            part = self._cut()
            if part is None:
                break
            self._is_in_part = False
            self._searched = 0
            if part:
                parts.append(part)
        return parts

    def _enter(self) -> bool:
        """Skip to a delimiter and read the head of its part; False when more bytes are needed."""
        start = self._find_delimiter()
        if start < 0:
            if len(self._buffer) > self._largest:
                raise Malformed(f"boundary {self._delimiter!r} expected, {len(self._buffer)} bytes without it came")
            return False
        behind = start + len(self._delimiter)
        if self._buffer[behind : behind + 2] == b"--":
            self.is_over = True
            return False
        head = _BLANK.search(self._buffer, behind, behind + _LONGEST_HEAD)
        if head is None:
            if len(self._buffer) > behind + _LONGEST_HEAD:
                raise Malformed(f"part headers of at most {_LONGEST_HEAD} bytes expected")
            return False
        length = _LENGTH.search(self._buffer, behind, head.end())
        self._left = int(length[1]) if length else None
        if self._left is not None and self._left > self._largest:
            raise Malformed(f"a part of at most {self._largest} bytes expected, {self._left} announced")
        del self._buffer[: head.end()]
        self._is_in_part = True
        self._searched = 0
        return True

    def _cut(self) -> bytes | None:
        """The part whose head was read, once it is whole."""
        if self._left is not None:
            return self._take(self._left) if len(self._buffer) >= self._left else None
        end = self._find_delimiter()
        if end >= 0:
            part = self._take(end)
            return part.removesuffix(b"--").removesuffix(b"\n").removesuffix(b"\r")
        if len(self._buffer) > self._largest:
            raise Malformed(f"a part of at most {self._largest} bytes expected, {len(self._buffer)} without end came")
        return None

    def _find_delimiter(self) -> int:
        """Where the next delimiter begins, or -1; what was searched once is not searched again."""
        found = self._buffer.find(self._delimiter, self._searched)
        if found < 0:
            self._searched = max(0, len(self._buffer) - len(self._delimiter))
        return found

    def _take(self, count: int) -> bytes:
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        return part

"""Sizes that subscribers request of a camera with `Size: auto`, each valid for a while. Pure.

A subscriber writes the size it needs to the resource PictureNeeds, again before the request expires. Without any
request the pictures have the camera's own size.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgex_kit.wire.errors import Invalid

from device_camera.frame import Size

_MOST = 32  # subscribers at once; a subscriber is a name that anybody may make up
_LONGEST = 128  # characters of it
_WIDEST = 65_535  # pixels of a side; a JPEG has no more
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class _Request:
    size: Size
    until: float


class SizeRequests:
    """Which subscriber needs which size of one camera's pictures; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._requests: dict[str, _Request] = {}

    def add(self, sizes: Mapping[str, Any], now: float, seconds: float) -> None:
        """Requests by subscriber, valid for `seconds` from `now`; an empty size ends one at once.

        Raises Invalid, and changes nothing then.
        """
        new = {subscriber: _size_from(subscriber, text) for subscriber, text in sizes.items()}
        kept = {name: request for name, request in self._requests.items() if request.until > now and name not in new}
        kept |= {name: _Request(size, now + seconds) for name, size in new.items() if size}
        if len(kept) > _MOST:
            raise Invalid(f"sizes for {_MOST} at the most expected, got one more")
        self._requests = kept

    def needed(self, now: float) -> Size | None:
        """The greatest on each side; None without requests."""
        sizes = [request.size for request in self._requests.values() if request.until > now]
        return (max(width for width, _ in sizes), max(height for _, height in sizes)) if sizes else None

    def in_force(self, now: float) -> dict[str, str]:
        """The sizes by subscriber, as text."""
        return {name: "{}x{}".format(*it.size) for name, it in self._requests.items() if it.until > now}


def _size_from(subscriber: str, value: Any) -> Size | None:
    if len(subscriber) > _LONGEST:
        raise Invalid(f"a name of {_LONGEST} characters at the most expected, got '{subscriber[:20]}...'")
    text = "" if value is None else str(value).strip().lower()
    if not text:
        return None
    sides = _SIZE.fullmatch(text)
    if not sides or max(width := int(sides[1]), height := int(sides[2])) > _WIDEST:
        raise Invalid(f"{subscriber}: a size such as 534x300 expected, got '{text[:40]}'")
    return width, height

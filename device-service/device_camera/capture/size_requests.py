"""Picture needs, each leased for a while; pure. Whoever still looks asks again before the lease ends."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgex_kit.wire.errors import Invalid

from device_camera.frame import Size

_MOST = 32  # that ask at once; who asks is a name that anybody may make up
_LONGEST = 128  # characters of it
_WIDEST = 65_535  # pixels of a side; a JPEG has no more
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class _Lease:
    size: Size
    until: float


class Leases:
    """Who needs which size of one camera's pictures; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._held: dict[str, _Lease] = {}

    def ask(self, sizes: Mapping[str, Any], now: float, seconds: float) -> None:
        """Note who needs what for so long from `now`; an empty size ends one at once.

        Raises Invalid, noting nothing.
        """
        asked = {who: _size(who, text) for who, text in sizes.items()}
        held = {who: lease for who, lease in self._held.items() if lease.until > now and who not in asked}
        held |= {who: _Lease(size, now + seconds) for who, size in asked.items() if size}
        if len(held) > _MOST:
            raise Invalid(f"sizes for {_MOST} at the most expected, got one more")
        self._held = held

    def size(self, now: float) -> Size | None:
        """The greatest on each side; None while nobody asks."""
        sizes = [lease.size for lease in self._held.values() if lease.until > now]
        return (max(width for width, _ in sizes), max(height for _, height in sizes)) if sizes else None

    def in_force(self, now: float) -> dict[str, str]:
        """Who needs what."""
        return {who: "{}x{}".format(*lease.size) for who, lease in self._held.items() if lease.until > now}


def _size(who: str, value: Any) -> Size | None:
    if len(who) > _LONGEST:
        raise Invalid(f"a name of {_LONGEST} characters at the most expected, got '{who[:20]}...'")
    text = "" if value is None else str(value).strip().lower()
    if not text:
        return None
    sides = _SIZE.fullmatch(text)
    if not sides or max(width := int(sides[1]), height := int(sides[2])) > _WIDEST:
        raise Invalid(f"{who}: a size such as 534x300 expected, got '{text[:40]}'")
    return width, height

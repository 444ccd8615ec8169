"""Go's durations as text: "300ms", "1m30s", "1h", and EdgeX's "1d"."""

import re
from functools import lru_cache

from edgex_kit.wire.errors import Invalid

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")  # Go knows both letters for micro

_MOST = 64  # characters; the search for terms takes time in the square of the length


@lru_cache(256)  # some are parsed for every frame
def parse_duration(text: str) -> float:
    """Seconds of `text`. Raises Invalid, naming it, for anything Go's ParseDuration would refuse ("d" aside)."""
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0.0
    terms = _TERM.findall(body) if len(body) <= _MOST else ()
    if not terms or "".join(number + unit for number, unit in terms) != body:
        raise Invalid(f"'{text[:_MOST]}' is no duration; expected a number with a unit, such as 300ms, 5s or 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in terms)
    return -seconds if text.startswith("-") else seconds

"""Frames in, results out: every frame has one result, in order, and how long it took. Pure.

A ledger has pages; what happens to a frame is written on the page that was open when it came.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

PATIENCE = 3.0  # seconds until a frame without a result is lost


@dataclass(slots=True)
class Page:
    """What happened while one thing was going on."""

    title: str
    begin: float  # seconds, monotonic
    end: float = 0.0  # 0 while it is open
    frames: int = 0
    results: int = 0
    dropped: int = 0  # and said to be: a newer frame of the camera came before anybody had time
    lost: int = 0  # neither answered nor said to be dropped
    twice: int = 0
    disordered: int = 0
    latency_ms: list[float] = field(default_factory=list)
    pause_ms: float = 0.0  # the longest between two results of a camera
    versions: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """The latency that `share` of the results do not exceed; 0 without results."""
        ordered = sorted(self.latency_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def is_in_order(self) -> bool:
        """Whether every frame that was not said to be dropped had its one result in turn."""
        return not (self.lost or self.twice or self.disordered)


@dataclass(slots=True)
class _Camera:
    waiting: dict[int, tuple[float, Page]] = field(default_factory=dict)  # seq -> when it came, in seq's order
    owed: deque[Page] = field(default_factory=deque)  # of frames passed over that no result has accounted for yet
    last_seq: int = -1
    last_result: float = 0.0


class Ledger:
    """All cameras; `seq` counts a camera's pictures."""

    def __init__(self, title: str, now: float) -> None:
        self.pages = [Page(title, now)]
        self._cameras: dict[str, _Camera] = {}

    def turn(self, title: str, now: float) -> None:
        """Open a new page."""
        self.pages[-1].end = now
        self.pages.append(Page(title, now))

    def frame(self, camera: str, seq: int, now: float) -> None:
        """A frame came."""
        page = self.pages[-1]
        page.frames += 1
        self._camera(camera).waiting[seq] = now, page

    def result(self, camera: str, seq: int, version: str, dropped: int, latency_ms: float, now: float) -> None:
        """A result came; `dropped` frames of its camera were passed over since the one before."""
        known = self._camera(camera)
        if seq <= known.last_seq:
            self.pages[-1].twice += seq == known.last_seq
            self.pages[-1].disordered += seq < known.last_seq
            return
        if seq not in known.waiting:  # it came before we listened
            known.last_seq, known.last_result = seq, now
            return
        page = known.waiting.pop(seq)[1]
        for passed in [it for it in known.waiting if it < seq]:
            self._miss(known, passed)
        for _ in range(min(dropped, len(known.owed))):
            owing = known.owed.popleft()
            owing.dropped, owing.lost = owing.dropped + 1, owing.lost - 1
        page.results += 1
        page.versions[version] += 1
        page.latency_ms.append(latency_ms)
        if known.last_seq >= 0:
            page.pause_ms = max(page.pause_ms, (now - known.last_result) * 1e3)
        known.last_seq, known.last_result = seq, now

    def close(self, now: float) -> list[Page]:
        """Pages of which nothing more will be heard, the oldest first; they are handed out once."""
        for known in self._cameras.values():
            for seq in [seq for seq, (came, _) in known.waiting.items() if now - came > PATIENCE]:
                self._miss(known, seq)
        awaited = {id(page) for known in self._cameras.values() for _, page in known.waiting.values()}
        done = []
        while len(self.pages) > 1 and id(self.pages[0]) not in awaited:
            done.append(self.pages.pop(0))
        return done

    def end(self, now: float) -> list[Page]:
        """All pages that were not handed out; frames that are still under way are not counted."""
        for known in self._cameras.values():
            for _, page in known.waiting.values():
                page.frames -= 1
            known.waiting.clear()
        self.turn("", now)
        return self.close(now)

    def _camera(self, name: str) -> _Camera:
        return self._cameras.setdefault(name, _Camera())

    def _miss(self, known: _Camera, seq: int) -> None:
        page = known.waiting.pop(seq)[1]
        page.lost += 1
        known.owed.append(page)

"""A candidate under the gate's eyes: judged again and again until it passes, breaks the gate, or is promoted."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgex_kit.wire.errors import EdgexError

from app_inference.background import in_background
from app_inference.inference.model import Model
from app_inference.pipeline.samples import Evidence
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.gate import Judgement, Verdict, is_slower, judge
from app_inference.rollout.timing import in_turn_ms

log = logging.getLogger(__name__)

TELL_EVERY = 2.0  # seconds of an observation that goes on: who watches it sees that it does
EXCUSED = 5.0  # seconds for which a candidate that was no slower in turn may seem so
NOTHING_YET = Judgement(Verdict.HOLD, "", {})

Compared = tuple[Evidence, Evidence, float | None]  # the version before, the candidate, how far they agree


class Breach(EdgexError):
    """The gate sent a version back."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions, and where what they did is found."""

    before: Model
    candidate: Model
    compared: Callable[[], Compared]


class Observation:
    """What the gate says of one model's candidate. `tell` is called when that changes, and now and then."""

    def __init__(self, name: str, tell: Callable[[], None]) -> None:
        self.judgement = NOTHING_YET
        self._name = name
        self._tell = tell
        self._told_at = 0.0  # time.monotonic()
        self._is_promoted = False

    def promote(self) -> None:
        """An operator's word counts as a pass."""
        self._is_promoted = True

    async def passed(
        self, pair: Pair, request: Callable[[], ModelRequest], pause: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait until the gate, or an operator, lets the candidate pass; `pause` lies between two looks.

        Raises Breach.
        """
        self._is_promoted = False
        started, excused_until = time.monotonic(), 0.0
        while not (self._is_promoted or request().promoted):
            now = request()
            before, candidate, agreed = pair.compared()
            looked = time.monotonic()
            is_timed = looked > excused_until
            judgement = judge(before, candidate, looked - started, now.gate, now.observe, agreed, is_timed=is_timed)
            if judgement.is_of_time and not await self._is_slower(pair, now):
                excused_until = time.monotonic() + EXCUSED
                continue
            self._note(judgement)
            if judgement.verdict is Verdict.BREACH and now.on_fail == "rollback":
                raise Breach(judgement.reason)
            if judgement.verdict is Verdict.PASS and not now.paused:
                return
            await pause()
        log.info("model '%s': %s was promoted by an operator", self._name, pair.candidate.version)

    async def _is_slower(self, pair: Pair, request: ModelRequest) -> bool:
        """Time both once more, in turn: a machine that became busy at the switch is not the candidate's fault."""
        before_ms, candidate_ms = await in_background(in_turn_ms, pair.before, pair.candidate)
        if is_slower(before_ms, candidate_ms, request.gate):
            return True
        text = "model '%s': %s seemed slower than %s, but in turn they take %.1f and %.1f ms: the machine is busier"
        log.info(text, self._name, pair.candidate.version, pair.before.version, candidate_ms, before_ms)
        return False

    def _note(self, judgement: Judgement) -> None:
        is_changed = judgement.verdict is not self.judgement.verdict
        self.judgement = judgement
        if is_changed or time.monotonic() - self._told_at > TELL_EVERY:
            self._told_at = time.monotonic()
            self._tell()

"""Observes a candidate beside the outgoing version until the gate, or an operator, decides."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgex_kit.wire.errors import EdgexError

from app_inference.background import in_background
from app_inference.inference.model import Model
from app_inference.pipeline.comparing import Comparisons
from app_inference.pipeline.samples import Evidence
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.gate import Gate, Judgement, Verdict, is_slower
from app_inference.rollout.timing import in_turn_ms

log = logging.getLogger(__name__)

NOTIFY_EVERY = 2.0  # seconds between two reports of an observation in which nothing changes
EXCUSED = 5.0  # seconds for which a candidate that was no slower in turn may seem so
NOTHING_YET = Judgement(Verdict.HOLD, "", {})


class Breach(EdgexError):
    """The candidate is to be rolled back; `is_proved` unless it is only not proved to be good."""

    def __init__(self, reason: str, *, is_proved: bool = True) -> None:
        super().__init__(reason)
        self.is_proved = is_proved


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions, and where what they did is found."""

    before: Model
    candidate: Model
    evidence: Callable[[], tuple[Evidence, Evidence]]  # of either, each on its own frames
    comparisons: Comparisons  # of frames that both analyse
    least_share: float = 0.0  # of a core for them, whatever the request says


class Observation:
    """What the gate says of one model's candidate. `notify` is called when that changes, and now and then."""

    def __init__(self, name: str, notify: Callable[[], None]) -> None:
        self.judgement = NOTHING_YET
        self._name = name
        self._notify = notify
        self._notified_at = 0.0  # time.monotonic()
        self._is_promoted = False

    def reset(self) -> None:
        """Forget the last candidate."""
        self.judgement = NOTHING_YET

    def promote(self) -> None:
        """Pass the candidate: an operator has approved it."""
        self._is_promoted = True

    async def passed(
        self, pair: Pair, request: Callable[[], ModelRequest], pause: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait until the gate, or an operator, passes the candidate; `pause` lies between two judgements.

        Limits that change while it waits begin the observation anew. Raises Breach.
        """
        self._is_promoted, self.judgement = False, NOTHING_YET
        started, excused_until, gate = time.monotonic(), 0.0, None
        try:
            while not (self._is_promoted or request().promoted):
                now = request()
                if gate is None or gate.options != now.gate:
                    gate = Gate(now.gate)
                    pair.comparisons.start(max(now.gate.compare_share, pair.least_share))
                gate.add(pair.comparisons.take())
                at = time.monotonic()
                judgement = gate.judge(*pair.evidence(), at - started, now.observe, is_timed=at > excused_until)
                if judgement.is_of_time and not await self._is_slower(pair, now):
                    excused_until = time.monotonic() + EXCUSED
                    continue
                self._note(judgement)
                if _is_over(judgement, now):
                    return
                await pause()
        finally:
            pair.comparisons.start(0)
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
        if is_changed and judgement.verdict is Verdict.INCONCLUSIVE:
            log.warning("model '%s': inconclusive: %s; promote it or roll it back", self._name, judgement.reason)
        self.judgement = judgement
        if is_changed or time.monotonic() - self._notified_at > NOTIFY_EVERY:
            self._notified_at = time.monotonic()
            self._notify()


def _is_over(judgement: Judgement, request: ModelRequest) -> bool:
    """Whether the candidate passes now. Raises Breach where it is to be rolled back."""
    verdict, wanted = judgement.verdict, request.observe.on_inconclusive
    if verdict is Verdict.BREACH and request.on_fail == "rollback":
        raise Breach(judgement.reason)
    if verdict is Verdict.INCONCLUSIVE and wanted == "rollback":
        raise Breach(judgement.reason, is_proved=False)
    is_passed = verdict is Verdict.PASS or (verdict is Verdict.INCONCLUSIVE and wanted == "promote")
    return is_passed and not request.paused

"""The steps of a rollout and which may follow which. Pure.

IDLE -> RESOLVE -> VERIFY -> LOAD -> SELFTEST -> [SHADOW | CANARY] -> SWITCH -> OBSERVE -> COMMIT -> IDLE
Any step before SWITCH may fall back to IDLE: the serving version was never touched.
Where nothing serves, SWITCH leads to COMMIT at once: there is nothing to compare with and nothing to go back to.
SHADOW, CANARY, SWITCH and OBSERVE may turn to ROLLBACK, which ends in IDLE with the candidate's digest in quarantine.
"""

from enum import StrEnum


class Step(StrEnum):
    IDLE = "IDLE"
    RESOLVE = "RESOLVE"
    VERIFY = "VERIFY"
    LOAD = "LOAD"
    SELFTEST = "SELFTEST"
    SHADOW = "SHADOW"
    CANARY = "CANARY"
    SWITCH = "SWITCH"
    OBSERVE = "OBSERVE"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"


_NEXT: dict[Step, frozenset[Step]] = {
    Step.IDLE: frozenset({Step.RESOLVE, Step.ROLLBACK}),
    Step.RESOLVE: frozenset({Step.VERIFY, Step.IDLE}),
    Step.VERIFY: frozenset({Step.LOAD, Step.IDLE}),
    Step.LOAD: frozenset({Step.SELFTEST, Step.IDLE}),
    Step.SELFTEST: frozenset({Step.SHADOW, Step.CANARY, Step.SWITCH, Step.IDLE}),
    Step.SHADOW: frozenset({Step.CANARY, Step.SWITCH, Step.ROLLBACK, Step.IDLE}),
    Step.CANARY: frozenset({Step.SWITCH, Step.ROLLBACK, Step.IDLE}),
    Step.SWITCH: frozenset({Step.OBSERVE, Step.COMMIT, Step.ROLLBACK}),
    Step.OBSERVE: frozenset({Step.COMMIT, Step.ROLLBACK}),
    Step.COMMIT: frozenset({Step.IDLE}),
    Step.ROLLBACK: frozenset({Step.IDLE}),
}

# What a start after a crash in this step counts as: the candidate may have killed the process.
SUSPECT = frozenset({Step.LOAD, Step.SELFTEST, Step.SHADOW, Step.CANARY, Step.SWITCH, Step.OBSERVE})


def may_follow(step: Step, after: Step) -> bool:
    """Whether `step` may come right after `after`."""
    return step in _NEXT[after]

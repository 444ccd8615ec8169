"""Proof that a mean is above a limit, from numbers that come one after the other and are judged after each. Pure.

A bet against "the mean of what comes next is at most `limit`" multiplies its stake by `1 + bet * (value - limit)` with
each value (Waudby-Smith, Ramdas: Estimating means of bounded random variables by betting, 2024). While the claim is
true no bet can be expected to gain, however often it is judged, so a large gain is proof against it: the chance that
the gain of values whose mean is at the limit ever reaches g is at most 1 / g (Ville), whatever their distribution.
Where the mean is well below the limit it is less by orders of magnitude.

Bets that have lost cannot see what begins late. A second mixture therefore begins anew whenever it has lost (an
e-detector: Shin, Ramdas, Rinaldo, 2023); its chance is n / g within n values, so its gain counts a tenth.

Frames that follow one another show the same objects. What is bet on is therefore the mean of a block of frames of one
camera, not each frame.
"""

import math
from collections import defaultdict

STAKES = (0.15, 0.35, 0.6, 0.9)  # of the largest bet that cannot lose all; a mixture needs no tuning to one effect
_LEAST_LIMIT = 1e-3
_MOST = 1e12  # a gain beyond it proves no more


class Bets:
    """A mixture of bets that the mean of values from 0 to 1 is above `limit`."""

    def __init__(self, limit: float, *, restarts: bool = False) -> None:
        self.gain = 1.0  # how much the stake has grown at most
        self._limit = max(limit, _LEAST_LIMIT)
        self._floor = 1.0 if restarts else 0.0
        self._gains = [1.0] * len(STAKES)

    def add(self, value: float) -> None:
        """Judge one value, 0..1."""
        self.add_events(value, 1)

    def add_events(self, events: float, of: int) -> None:
        """Judge `of` values at once that are 0 or 1 and of which `events` are 1; one value may lie between."""
        excess = (1 - self._limit) / self._limit
        for index, stake in enumerate(STAKES):
            if of == 1:
                factor = 1 + stake * (events - self._limit) / self._limit
            else:
                power = events * math.log1p(stake * excess) + (of - events) * math.log1p(-stake)
                factor = math.exp(min(power, math.log(_MOST)))
            self._gains[index] = min(max(self._gains[index], self._floor) * factor, _MOST)
        self.gain = max(self.gain, sum(self._gains) / len(STAKES))


class Fault:
    """Whether a mean is above `limit`, from the start or from some time on."""

    def __init__(self, limit: float) -> None:
        self._early, self._late = Bets(limit), Bets(limit, restarts=True)

    @property
    def gain(self) -> float:
        return max(self._early.gain, self._late.gain / 10)

    def add(self, value: float) -> None:
        self._early.add(value)
        self._late.add(value)


class Blocks:
    """Cuts what comes frame by frame into blocks of `size` frames of one camera."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._open: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    def add(self, camera: str, part: float, whole: float = 1.0) -> float | None:
        """Add one frame; the share of all parts in all wholes when that ends a block, else None."""
        frames = self._open[camera]
        frames.append((part, whole))
        if len(frames) < self._size:
            return None
        del self._open[camera]
        return sum(part for part, _ in frames) / sum(whole for _, whole in frames)


class Share:
    """A share of what is counted, such as lost objects of all objects, against a limit (0..1)."""

    def __init__(self, limit: float, block: int) -> None:
        self.frames = 0
        self._fault = Fault(limit)
        self._soundness = Bets(1 - min(2 * limit, 1))  # that what is left is more than at twice the limit
        self._blocks = Blocks(block)
        self._part = self._whole = 0.0

    @property
    def gain(self) -> float:
        """How much bets that the share is above the limit have gained."""
        return self._fault.gain

    @property
    def assurance(self) -> float:
        """How much bets that the share is below twice the limit have gained."""
        return self._soundness.gain

    @property
    def mean(self) -> float:
        """The share in all that came; 0 without any."""
        return self._part / self._whole if self._whole else 0.0

    def add(self, camera: str, part: float, whole: float = 1.0) -> None:
        """Add one frame: `part` of `whole` objects; `whole` is above 0."""
        self.frames += 1
        self._part += part
        self._whole += whole
        share = self._blocks.add(camera, part, whole)
        if share is not None:
            self._fault.add(share)
            self._soundness.add(1 - share)


class Bias:
    """A signed number that ought to be around 0, against a limit on either side."""

    REACH = 3.0  # limits; a number beyond counts no more than one there

    def __init__(self, limit: float, block: int) -> None:
        self.frames = 0
        self._reach = self.REACH * max(limit, _LEAST_LIMIT)
        self._sides = Fault(1 / self.REACH), Fault(1 / self.REACH)
        self._blocks = Blocks(block)
        self._sum = 0.0

    @property
    def gain(self) -> float:
        """How much bets that the mean is beyond the limit have gained."""
        return max(side.gain for side in self._sides)

    @property
    def mean(self) -> float:
        return self._sum / self.frames if self.frames else 0.0

    def add(self, camera: str, value: float) -> None:
        """Add what one frame shows."""
        self.frames += 1
        self._sum += value
        mean = self._blocks.add(camera, value)
        if mean is not None:
            for side, sign in zip(self._sides, (1, -1), strict=True):
                side.add(min(max(sign * mean / self._reach, 0.0), 1.0))

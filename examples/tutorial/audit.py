"""`python -m examples.tutorial.audit`: counts frames and results on the bus while a model is updated.

It prints a line for each phase: a version serves, another is prepared, it is observed. Ctrl-C ends it; its exit code is
1 when a frame had no result, two results, or a result out of order.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app_inference.cli.client import Client
from edgex_kit.bus.bus import Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, NotFound
from edgex_kit.wire.topics import Topics

from demo.options import Ports
from demo.samples import SAMPLES

TOPICS = Topics()
RESULTS = "events/device/app-inference/#"
POLL = 0.1  # seconds
PATIENCE = 3.0  # seconds until a frame without a result is lost
COLUMNS = ("s", 6), ("frames", 8), ("results", 8), ("dropped", 8), ("lost", 5), ("twice", 6), ("late", 7)
HEAD = " " * 20 + "".join(f"{name:>{width}}" for name, width in COLUMNS) + "   latency p50, p99, most   pause"


@dataclass(slots=True)
class Phase:
    """The frames that came during one phase of an update, and their results."""

    title: str
    begin: float  # seconds, monotonic
    end: float = 0.0  # 0 while it goes on
    frames: int = 0
    results: int = 0
    dropped: int = 0  # and reported as dropped: a newer frame of the camera came before a worker was free
    lost: int = 0  # neither a result nor reported as dropped
    twice: int = 0
    late: int = 0  # after the result of a newer frame
    latency_ms: list[float] = field(default_factory=list)
    pause_ms: float = 0.0  # the longest between two results of a camera
    versions: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """The latency that `share` of the results do not exceed; 0 without results."""
        ordered = sorted(self.latency_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def is_in_order(self) -> bool:
        """Whether every frame that was not reported as dropped had one result, in order."""
        return not (self.lost or self.twice or self.late)


@dataclass(slots=True)
class _Camera:
    waiting: dict[int, tuple[float, Phase]] = field(default_factory=dict)  # seq -> when it came, in the order of seq
    unreported: deque[Phase] = field(default_factory=deque)  # of skipped frames that no result has reported yet
    last_seq: int = -1
    last_result: float = 0.0


class Accounting:
    """All frames and results; `seq` numbers the frames of a camera, times are in seconds."""

    def __init__(self, title: str, now: float) -> None:
        self.phases = [Phase(title, now)]
        self._cameras: dict[str, _Camera] = {}

    def enter(self, title: str, now: float) -> None:
        """Begin a phase."""
        self.phases[-1].end = now
        self.phases.append(Phase(title, now))

    def frame(self, camera: str, seq: int, now: float) -> None:
        """Count a frame."""
        phase = self.phases[-1]
        phase.frames += 1
        self._cameras.setdefault(camera, _Camera()).waiting[seq] = now, phase

    def result(self, camera: str, seq: int, version: str, dropped: int, latency_ms: float, now: float) -> None:
        """Count a result, which reports `dropped` frames of its camera since the result before."""
        known = self._cameras.setdefault(camera, _Camera())
        if seq <= known.last_seq:
            self.phases[-1].twice += seq == known.last_seq
            self.phases[-1].late += seq < known.last_seq
            return
        if seq not in known.waiting:  # its frame came before the start
            known.last_seq, known.last_result = seq, now
            return
        phase = known.waiting.pop(seq)[1]
        for skipped in [it for it in known.waiting if it < seq]:
            _lose(known, skipped)
        for _ in range(min(dropped, len(known.unreported))):
            reported = known.unreported.popleft()
            reported.dropped, reported.lost = reported.dropped + 1, reported.lost - 1
        phase.results += 1
        phase.versions[version] += 1
        phase.latency_ms.append(latency_ms)
        if known.last_seq >= 0:
            phase.pause_ms = max(phase.pause_ms, (now - known.last_result) * 1e3)
        known.last_seq, known.last_result = seq, now

    def close(self, now: float) -> list[Phase]:
        """The phases that are over and whose frames are all accounted for, the oldest first; each is returned once."""
        for known in self._cameras.values():
            for seq in [seq for seq, (came, _) in known.waiting.items() if now - came > PATIENCE]:
                _lose(known, seq)
        awaited = {id(phase) for known in self._cameras.values() for _, phase in known.waiting.values()}
        done = []
        while len(self.phases) > 1 and id(self.phases[0]) not in awaited:
            done.append(self.phases.pop(0))
        return done

    def end(self, now: float) -> list[Phase]:
        """All phases that were not returned yet, without the frames that still wait for a result."""
        for known in self._cameras.values():
            for _, phase in known.waiting.values():
                phase.frames -= 1
            known.waiting.clear()
        self.enter("", now)
        return self.close(now)


def _lose(known: _Camera, seq: int) -> None:
    phase = known.waiting.pop(seq)[1]
    phase.lost += 1
    known.unreported.append(phase)


def title_of(report: dict[str, Any], version: str) -> str:
    """The phase of a model in words."""
    state, candidate = report.get("state", "IDLE"), (report.get("candidate") or {}).get("version", "another")
    if state in ("IDLE", "COMMIT", "ROLLBACK"):
        return f"{version} serves"
    if state in ("SHADOW", "CANARY"):
        return f"{candidate} beside {version}"
    return f"{candidate} is observed" if state in ("SWITCH", "OBSERVE") else "another is prepared"


def reason_of(report: dict[str, Any]) -> str:
    """Why the last request was refused or rolled back; empty while one is under way."""
    if report.get("state") != "IDLE" or not report.get("reason"):
        return ""
    return f"{report.get('refused') or 'the request'}: {report['reason']}"


def line(phase: Phase) -> str:
    """A phase, under HEAD."""
    counts = f"{phase.frames:>8}{phase.results:>8}{phase.dropped:>8}{phase.lost:>5}{phase.twice:>6}{phase.late:>7}"
    latency = "".join(f"{phase.percentile(share):>7.1f}" for share in (0.5, 0.99, 1))
    return f"{phase.title:20}{phase.end - phase.begin:>6.1f}{counts} {latency} ms{phase.pause_ms:>5.0f} ms"


def facts(phase: Phase) -> dict[str, Any]:
    """A phase for programs."""
    counts = {name: getattr(phase, name) for name in ("frames", "results", "dropped", "lost", "twice", "late")}
    latency = {name: round(phase.percentile(share), 1) for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1))}
    more = {"seconds": round(phase.end - phase.begin, 1), "versions": dict(phase.versions)}
    return {"title": phase.title, **counts, "latencyMs": latency, "pauseMs": round(phase.pause_ms, 1), **more}


async def audit(ports: Ports, model: str, show: Callable[[Phase], None], note: Callable[[str], None]) -> bool:
    """Count until cancelled; returns whether every frame was in order. Raises Unreachable, NotFound."""
    client = Client(f"http://localhost:{ports.inference}")
    title, noted = await asyncio.to_thread(_phase_now, client, model)
    accounting, is_good = Accounting(title, time.monotonic()), True
    topics = (TOPICS.below("frames/#"), TOPICS.below(RESULTS))
    async with (
        open_bus(BusSettings(port=ports.broker, client_id=f"audit-{os.getpid()}")) as bus,
        bus.messages(*topics, bound=10_000) as messages,
    ):
        counting = asyncio.create_task(_count(messages, accounting, model))
        try:
            while not counting.done():
                await asyncio.sleep(POLL)
                title, reason = await asyncio.to_thread(_phase_now, client, model)
                if title != accounting.phases[-1].title:
                    accounting.enter(title, time.monotonic())
                if reason not in ("", noted):
                    note(reason)
                noted = reason
                for phase in accounting.close(time.monotonic()):
                    is_good = is_good and phase.is_in_order
                    show(phase)
            counting.result()
        except asyncio.CancelledError:
            for phase in accounting.end(time.monotonic()):
                is_good = is_good and phase.is_in_order
                show(phase)
        finally:
            counting.cancel()
    return is_good


async def _count(messages: AsyncIterator[Message], accounting: Accounting, model: str) -> None:
    async for message in messages:
        event = codec.event_of(codec.decode_envelope(message.data))
        tags, now = event.tags or {}, time.monotonic()
        result = next((it.object_value for it in event.readings if it.value_type == "Object"), None)
        if result is None:
            accounting.frame(event.device_name, int(tags["seq"]), now)
        elif result["model"]["name"] == model:  # not another pipeline of the same cameras
            latency_ms = (time.time_ns() - int(result["captureOrigin"])) / 1e6
            version, dropped = result["model"]["version"], result["droppedSinceLast"]
            accounting.result(event.device_name, int(result["seq"]), version, dropped, latency_ms, now)


def _phase_now(client: Client, model: str) -> tuple[str, str]:
    """The title of the current phase, and the reason of the last request's end."""
    status = client.status()
    row = next((it for it in status["models"] if it.get("model") == model), None)
    if row is None:
        raise NotFound(f"no model '{model}' serves; is this `make run SAMPLE=driver`?")
    report = status["updates"]["models"].get(model, {})
    return title_of(report, row["version"]), reason_of(report)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.tutorial.audit", description=__doc__)
    parser.add_argument("--model", default=SAMPLES["driver"].model)
    parser.add_argument("--seconds", type=float, default=0.0, help="end after this time")
    parser.add_argument("--port-shift", type=int, default=0, help="as given to `make run`")
    parser.add_argument("--json", action="store_true", help="a JSON document on each line")
    known = parser.parse_args(argv)
    try:
        return 0 if asyncio.run(_until_ended(known)) else 1
    except EdgexError as error:
        print(error, file=sys.stderr)
        return 1


async def _until_ended(known: argparse.Namespace) -> bool:
    def show(phase: Phase) -> None:
        print(json.dumps(facts(phase)) if known.json else line(phase), flush=True)

    def note(reason: str) -> None:
        print(json.dumps({"reason": reason}) if known.json else f"  {reason}", flush=True)

    counting = asyncio.create_task(audit(Ports().shifted(known.port_shift), known.model, show, note))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, counting.cancel)
    if known.seconds:
        loop.call_later(known.seconds, counting.cancel)
    if not known.json:
        print(HEAD, flush=True)
    return await counting


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

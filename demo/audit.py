"""`python -m demo.audit`: listens to frames and results on the bus and keeps account, while a model is updated.

A line for each thing that goes on: a version serves, another one is prepared, it is observed, it went back. Ctrl-C ends
it; its exit code is 1 when a frame was lost, or answered twice or out of turn.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from app_inference.cli.client import Gateway
from edgex_kit.bus.bus import BusSettings, Message, open_bus
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, NotFound
from edgex_kit.wire.topics import Topics

from demo.ledger import Ledger, Page
from demo.options import Ports
from demo.samples import SAMPLES

TOPICS = Topics()
RESULTS = "events/device/app-inference/#"
LOOK_EVERY = 0.1  # seconds
COLUMNS = ("s", 6), ("frames", 8), ("results", 8), ("dropped", 8), ("lost", 5), ("twice", 6), ("turned", 7)
HEAD = " " * 20 + "".join(f"{name:>{width}}" for name, width in COLUMNS) + "   latency p50, p99, most   pause"


def title_of(report: dict[str, Any], version: str) -> str:
    """What goes on with a model, in words that last as long as it does."""
    state, tried = report.get("state", "IDLE"), (report.get("candidate") or {}).get("version", "another")
    if state in ("IDLE", "COMMIT", "ROLLBACK"):
        return f"{version} serves"
    if state in ("SHADOW", "CANARY"):
        return f"{tried} beside {version}"
    return f"{tried} is observed" if state in ("SWITCH", "OBSERVE") else "another is prepared"


def reason_of(report: dict[str, Any]) -> str:
    """Why the last wish was refused or taken back; empty while one is followed."""
    if report.get("state") != "IDLE" or not report.get("reason"):
        return ""
    return f"{report.get('refused') or 'the wish'}: {report['reason']}"


def line(page: Page) -> str:
    """A page, under HEAD."""
    counts = f"{page.frames:>8}{page.results:>8}{page.dropped:>8}{page.lost:>5}{page.twice:>6}{page.disordered:>7}"
    latency = "".join(f"{page.percentile(share):>7.1f}" for share in (0.5, 0.99, 1))
    return f"{page.title:20}{page.end - page.begin:>6.1f}{counts} {latency} ms{page.pause_ms:>5.0f} ms"


def facts(page: Page) -> dict[str, Any]:
    """A page for programs."""
    counts = {name: getattr(page, name) for name in ("frames", "results", "dropped", "lost", "twice", "disordered")}
    latency = {"p50": page.percentile(0.5), "p99": page.percentile(0.99), "most": page.percentile(1)}
    rounded = {key: round(value, 1) for key, value in latency.items()}
    more = {"seconds": round(page.end - page.begin, 1), "versions": dict(page.versions)}
    return {"title": page.title, **counts, "latencyMs": rounded, "pauseMs": round(page.pause_ms, 1), **more}


async def keep_account(ports: Ports, model: str, tell: Callable[[Page], None], remark: Callable[[str], None]) -> bool:
    """Listen until cancelled; whether all was in order. Raises Unreachable, NotFound."""
    gateway = Gateway(f"http://localhost:{ports.inference}", "", "", "")
    title, said = await asyncio.to_thread(_look, gateway, model)
    ledger, is_good = Ledger(title, time.monotonic()), True
    topics = (TOPICS.below("frames/#"), TOPICS.below(RESULTS))
    async with (
        open_bus(BusSettings(port=ports.broker, client_id=f"demo-audit-{os.getpid()}")) as bus,
        bus.messages(*topics, bound=10_000) as messages,
    ):
        listening = asyncio.create_task(_listen(messages, ledger, model))
        try:
            while not listening.done():
                await asyncio.sleep(LOOK_EVERY)
                title, reason = await asyncio.to_thread(_look, gateway, model)
                if title != ledger.pages[-1].title:
                    ledger.turn(title, time.monotonic())
                if reason not in ("", said):
                    remark(reason)
                said = reason
                for page in ledger.close(time.monotonic()):
                    is_good = is_good and page.is_in_order
                    tell(page)
            listening.result()
        except asyncio.CancelledError:
            for page in ledger.end(time.monotonic()):
                is_good = is_good and page.is_in_order
                tell(page)
        finally:
            listening.cancel()
    return is_good


async def _listen(messages: AsyncIterator[Message], ledger: Ledger, model: str) -> None:
    async for message in messages:
        event = codec.event_of(codec.decode_envelope(message.data))
        tags = event.tags or {}
        camera, seq, now = event.device_name, int(tags["seq"]), time.monotonic()
        if "modelVersion" not in tags:
            ledger.frame(camera, seq, now)
            continue
        if tags.get("model") != model:
            continue  # another pipeline looks at the same cameras
        said = next(it.object_value for it in event.readings if it.value_type == "Object")
        latency_ms = (time.time_ns() - int(tags["captureOrigin"])) / 1e6
        ledger.result(camera, seq, str(tags["modelVersion"]), said["droppedSinceLast"], latency_ms, now)


def _look(gateway: Gateway, model: str) -> tuple[str, str]:
    """What goes on with the model, and what it says of its last wish."""
    status = gateway.status()
    row = next((it for it in status["models"] if it.get("model") == model), None)
    if row is None:
        raise NotFound(f"no model '{model}' serves; is this `make run SAMPLE=driver`?")
    report = status["updates"]["models"].get(model, {})
    return title_of(report, row["version"]), reason_of(report)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.audit", description=__doc__)
    parser.add_argument("--model", default=SAMPLES["driver"].model)
    parser.add_argument("--seconds", type=float, default=0.0, help="end by itself after so long")
    parser.add_argument("--port-shift", type=int, default=0, help="that of the run")
    parser.add_argument("--json", action="store_true", help="a JSON document a line")
    known = parser.parse_args(argv)
    tell, remark = (_tell_json, _remark_json) if known.json else (_tell, _remark)
    try:
        is_good = asyncio.run(_until_ended(known.seconds, Ports().shifted(known.port_shift), known.model, tell, remark))
    except EdgexError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if is_good else 1


async def _until_ended(
    seconds: float, ports: Ports, model: str, tell: Callable[[Page], None], remark: Callable[[str], None]
) -> bool:
    account = asyncio.create_task(keep_account(ports, model, tell, remark))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, account.cancel)
    if seconds:
        loop.call_later(seconds, account.cancel)
    if tell is _tell:
        print(HEAD, flush=True)
    return await account


def _tell(page: Page) -> None:
    print(line(page), flush=True)


def _remark(reason: str) -> None:
    print(f"  {reason}", flush=True)


def _tell_json(page: Page) -> None:
    print(json.dumps(facts(page)), flush=True)


def _remark_json(reason: str) -> None:
    print(json.dumps({"reason": reason}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Results beyond what core-data stores are thinned, which is logged and counted."""

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from app_inference.pipeline import store_lag as module
from app_inference.pipeline.results import FrameResult
from app_inference.pipeline.store_lag import StoreLag
from edgex_kit.service.metrics import Metrics

from tests.app.results import LAMP, a_result

pytestmark = [pytest.mark.fault(1), pytest.mark.integration]
SECOND = 1_000_000_000


class CoreData(BaseHTTPRequestHandler):
    """Answers with one event, `late_ns` older than now."""

    late_ns = 0

    def do_GET(self) -> None:
        body = json.dumps({"apiVersion": "v3", "events": [{"origin": time.time_ns() - self.late_ns}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def core_data(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(module, "INTERVAL", 0.02)
    monkeypatch.setattr(module, "SETTLE", 0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), CoreData)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def store_lag(url: str, since_ns: int = 1, limit_s: float = 10.0) -> StoreLag:
    settings = SimpleNamespace(
        trigger=SimpleNamespace(max_store_lag_s=limit_s),
        message_bus=SimpleNamespace(disabled=False),
        client=lambda _name, _port: SimpleNamespace(url=url),
    )
    service: Any = SimpleNamespace(settings=settings, metrics=Metrics("app"), stored_secrets=None)
    return StoreLag(service, since_ns)


@contextlib.asynccontextmanager
async def watching(lag: StoreLag) -> Any:
    task = asyncio.create_task(lag.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def until(check: Any) -> None:
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.01)


async def test_results_are_thinned_while_core_data_is_behind_and_no_longer(
    core_data: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lag = store_lag(core_data)
    assert all(lag.admits(a_result(number)) for number in range(10))
    monkeypatch.setattr(CoreData, "late_ns", 60 * SECOND)
    async with watching(lag):
        await until(lambda: lag.is_thinning)
        assert [lag.admits(a_result(number)) for number in range(10)] == [True] + [False] * 9
        assert lag._thinned.value == 9
        monkeypatch.setattr(CoreData, "late_ns", 0)
        await until(lambda: not lag.is_thinning)
    assert lag.admits(a_result())
    assert len(caplog.records) == 2


async def test_what_core_data_does_not_store_thins_nothing(core_data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreData, "late_ns", 60 * SECOND)
    lag, unwatched = store_lag(core_data, since_ns=time.time_ns()), store_lag(core_data, limit_s=0)
    for it in (lag, unwatched):
        it.admits(a_result())
        async with watching(it):
            await asyncio.sleep(0.2)
        assert not it.is_thinning


def test_a_change_of_labels_or_a_second_admits_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    lag, other = store_lag(""), msgspec.structs.replace(LAMP, label="fire")
    lag.is_thinning = True

    def admitted(**fields: Any) -> bool:
        result: FrameResult = a_result(**fields)
        return lag.admits(result)

    assert [admitted(), admitted(), admitted(objects=(LAMP, LAMP)), admitted(objects=(LAMP, LAMP))] == [1, 0, 1, 0]
    assert [admitted(objects=(other,)), admitted(objects=()), admitted(objects=())] == [1, 1, 0]
    assert [admitted(camera="yard"), admitted(pipeline="doors"), admitted(camera="yard")] == [1, 1, 0]
    monkeypatch.setattr(module, "PERIOD", 0.0)
    assert admitted(objects=())

"""Metrics: counted from any thread, published as EdgeX telemetry, scraped by Prometheus."""

import asyncio
import shutil
import statistics
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import requests
from edgex_kit.bus.bus import Bus
from edgex_kit.config.settings import TelemetrySection
from edgex_kit.service.metrics import Histogram, Metrics, metrics_route, report
from edgex_kit.service.server import open_server
from edgex_kit.wire import codec
from edgex_kit.wire.messages import Metric
from edgex_kit.wire.topics import Topics
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

Until = Callable[..., Awaitable[None]]


class Telemetry:
    """What was published for one service, as it came."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.settings = TelemetrySection(interval="20ms", metrics={"Frames": True, "Rate": True})
        self.got: list[tuple[str, Metric]] = []

    def named(self, name: str) -> list[Metric]:
        return [metric for _, metric in self.got if metric.name == name]


@pytest.fixture
async def telemetry(bus: Bus, other: Bus, unique: str) -> AsyncIterator[Telemetry]:
    found = Telemetry(Metrics(unique))

    def receive(message: object) -> None:
        envelope = codec.decode_envelope(message.data)  # type: ignore[attr-defined]
        found.got.append((message.topic, codec.payload_as(envelope, Metric)))  # type: ignore[attr-defined]

    other.subscribe(f"edgex/telemetry/{unique}/#", receive)
    assert await other.settle(10)
    task = asyncio.create_task(report(found.metrics, bus, Topics(), lambda: found.settings))
    yield found
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.integration
async def test_an_enabled_metric_is_published_with_the_service_as_its_first_tag(
    telemetry: Telemetry, unique: str, until: Until
) -> None:
    telemetry.settings = TelemetrySection(interval="20ms", metrics={"Frames": True}, tags={"site": "lab"})
    telemetry.metrics.counter("Frames", device="dock").add(3)
    await until(lambda: telemetry.named("Frames"))
    topic, metric = telemetry.got[0]
    assert topic == f"edgex/telemetry/{unique}/Frames"
    assert [(tag.name, tag.value) for tag in metric.tags] == [("service", unique), ("device", "dock"), ("site", "lab")]
    assert [(it.name, it.value) for it in metric.fields] == [("counter-count", 3)]
    assert metric.timestamp > 10**18


@pytest.mark.integration
async def test_a_metric_that_is_not_enabled_is_not_published(telemetry: Telemetry, until: Until) -> None:
    telemetry.metrics.counter("Other").add()
    telemetry.metrics.counter("Frames").add()
    await until(lambda: len(telemetry.named("Frames")) >= 3)
    assert not telemetry.named("Other")


@pytest.mark.integration
async def test_the_interval_and_the_choice_may_change_while_it_runs(telemetry: Telemetry, until: Until) -> None:
    telemetry.settings = TelemetrySection(interval="0s", metrics={"Frames": True})
    telemetry.metrics.counter("Frames").add()
    telemetry.metrics.gauge("Other").set(1)
    await asyncio.sleep(0.1)
    telemetry.got.clear()
    await asyncio.sleep(0.1)
    assert not telemetry.got
    telemetry.settings = TelemetrySection(interval="20ms", metrics={"Other": True})
    await until(lambda: telemetry.named("Other"))
    assert not telemetry.named("Frames")


@pytest.mark.integration
async def test_a_gauge_says_whether_it_is_whole(telemetry: Telemetry, until: Until) -> None:
    rate = telemetry.metrics.gauge("Rate")
    rate.set(5)
    await until(lambda: telemetry.named("Rate"))
    assert telemetry.named("Rate")[0].fields[0].name == "gauge-value"
    rate.set(2.5)
    await until(lambda: telemetry.named("Rate")[-1].fields[0].name == "gaugeFloat64-value")
    assert telemetry.named("Rate")[-1].fields[0].value == 2.5


def test_a_counter_loses_no_count_of_any_thread() -> None:
    counter = Metrics("cam").counter("Frames")
    threads = [threading.Thread(target=lambda: [counter.add() for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 20_000


def test_a_metric_of_the_same_name_and_tags_is_the_same() -> None:
    metrics = Metrics("cam")
    assert metrics.counter("Frames", device="a") is metrics.counter("Frames", device="a")
    assert metrics.counter("Frames", device="a") is not metrics.counter("Frames", device="b")
    with pytest.raises(TypeError):
        metrics.gauge("Frames", device="a")
    metrics.gauge("Rate")
    with pytest.raises(TypeError):
        metrics.counter("Rate")


def test_the_metrics_of_a_device_that_is_gone_are_forgotten() -> None:
    metrics = Metrics("cam")
    metrics.counter("Frames", device="a", reason="x")
    metrics.gauge("Rate", device="a")
    metrics.gauge("Rate", device="b")
    metrics.counter("Frames")
    metrics.forget(device="a")
    assert [(it.name, it.tags) for it in metrics] == [("Rate", {"device": "b"}), ("Frames", {})]


def test_the_numbers_are_those_of_what_was_measured() -> None:
    measured = [3.0, 12.0, 12.5, 80.0, 7000.0]
    histogram = Histogram("Ms")
    for value in measured:
        histogram.add(value)
    fields = {field.name: field.value for field in histogram.fields()}
    assert fields == {
        "histogram-count": 5,
        "histogram-min": 3.0,
        "histogram-max": 7000.0,
        "histogram-mean": pytest.approx(statistics.mean(measured)),
        "histogram-stddev": pytest.approx(statistics.stdev(measured)),
        "histogram-variance": pytest.approx(statistics.variance(measured)),
    }


def test_buckets_grow_and_end_with_everything() -> None:
    histogram = Histogram("Ms", bounds=(1.0, 10.0))
    for value in (0.5, 1.0, 5.0, 50.0):
        histogram.add(value)
    assert histogram.cumulative() == [("1", 2.0), ("10", 3.0), ("+Inf", 4.0)]


@pytest.mark.integration
async def test_every_kind_of_metric_is_scraped_with_its_tags_as_labels() -> None:
    metrics = Metrics("app-inference")
    metrics.counter("FramesDropped", camera="dock", reason="Replaced").add(3)
    metrics.counter("FramesDropped", camera='a"b\n', reason="Rate").add()
    metrics.gauge("ResultsWaiting").set(7)
    metrics.histogram("InferenceStageMs", stage="infer", model="det").add(12.0)
    async with open_server(Starlette(routes=[metrics_route(metrics)]), "127.0.0.1", 0) as port:
        answer = await asyncio.to_thread(requests.get, f"http://127.0.0.1:{port}/metrics", timeout=5)
    assert answer.status_code == 200
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["edgex_frames_dropped_total", "Replaced", "app-inference", "dock"] == 3
    assert samples["edgex_frames_dropped_total", "Rate", 'a"b\n', "app-inference"] == 1
    assert samples["edgex_results_waiting", "app-inference"] == 7
    assert samples["edgex_inference_stage_seconds_bucket", "0.015", "app-inference", "det", "infer"] == 1
    assert samples["edgex_inference_stage_seconds_sum", "app-inference", "det", "infer"] == pytest.approx(0.012)
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= {
        it[0] for it in samples
    }


async def scraped(metrics: Metrics, renamed: dict[str, str] | None = None) -> str:
    transport = httpx.ASGITransport(Starlette(routes=[metrics_route(metrics, renamed)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return (await http.get("/metrics")).text


@pytest.mark.fault(28)
async def test_a_family_has_one_help_and_one_set_of_labels_whatever_tags_its_metrics_have() -> None:
    metrics = Metrics("device-camera")
    metrics.counter("PipelineMessagesProcessed-default", pipeline="default").add()
    metrics.counter("PipelineMessagesProcessed-dock", pipeline="dock").add()
    metrics.counter("FramesDropped", device="dock", reason="Rate").add(2)
    metrics.counter("FramesDropped", device="dock").add(3)
    metrics.gauge("LastConnected", device="dock").set(1_795_332_391_463_325_606)
    text = await scraped(metrics, {"device": "camera"})
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))
    assert 'edgex_pipeline_messages_processed_total{pipeline="dock",service="device-camera"} 1.0' in text
    assert 'edgex_frames_dropped_total{camera="dock",reason="",service="device-camera"} 3.0' in text
    assert 'edgex_last_connected_timestamp_seconds{camera="dock",service="device-camera"} 1.795332391' in text


@pytest.mark.integration
@pytest.mark.fault(28)
async def test_promtool_finds_nothing_to_complain_of() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    metrics = Metrics("app-inference")
    metrics.counter("FramesReceived", camera="a").add()
    metrics.gauge("ModelLoadMs", model="m").set(5.0)
    metrics.histogram("InferenceStageMs", stage="infer").add(3)
    text = await scraped(metrics)
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

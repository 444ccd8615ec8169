"""What Prometheus scrapes."""

import asyncio

import requests
from edgex_kit.service.exposition import exposed_name, metrics_route
from edgex_kit.service.metrics import Metrics
from edgex_kit.service.server import open_server
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette


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
    assert samples["edgex_inference_stage_ms_bucket", "15", "app-inference", "det", "infer"] == 1
    assert samples["edgex_inference_stage_ms_sum", "app-inference", "det", "infer"] == 12


def test_a_name_is_spelt_as_prometheus_wants_it() -> None:
    assert exposed_name("PipelineMessagesProcessed-dock") == "edgex_pipeline_messages_processed"

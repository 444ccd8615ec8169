"""Where a model runs."""

import os
from itertools import product
from pathlib import Path

import pytest
from app_inference.inference.runtime import Runtime

DIGEST, BUILD = "0123456789abcdef" * 4, "2026.4.1-22982-e213a147257-releases/2026/4"


def test_a_stream_a_core_and_a_thread_a_stream() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Runtime().properties(DIGEST, BUILD) == {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores}
    assert Runtime(streams=3).properties(DIGEST, BUILD) == {"NUM_STREAMS": 3, "INFERENCE_NUM_THREADS": 3}
    assert Runtime(streams=1, threads=4).properties(DIGEST, BUILD) == {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 4}


def test_threads_are_the_cpus_affair() -> None:
    assert Runtime(device="GPU", streams=3, threads=1).properties(DIGEST, BUILD) == {}


@pytest.mark.parametrize("precision", ["f32", "bf16", "f16"])
def test_a_precision_is_asked_for_by_openvinos_hint(precision: str) -> None:
    assert Runtime(device="GPU", precision=precision).properties(DIGEST, BUILD) == {
        "INFERENCE_PRECISION_HINT": precision
    }


@pytest.mark.goal(41)
def test_each_model_build_device_and_precision_has_its_own_cache(tmp_path: Path) -> None:
    def folder(digest: str, build: str, device: str, precision: str) -> Path:
        runtime = Runtime(device, cache_dir=tmp_path, precision=precision)
        return Path(runtime.properties(digest, build)["CACHE_DIR"])

    folders = {
        folder(*each)
        for each in product((DIGEST, "f" * 64), (BUILD, "2025.3.0-1-x"), ("CPU", "AUTO:GPU,CPU"), ("auto", "bf16"))
    }
    assert len(folders) == 16
    assert all(path.is_dir() and path.parent == tmp_path for path in folders)


@pytest.mark.goal(40)
def test_a_list_of_devices_is_tried_in_its_order_and_what_takes_a_list_itself_is_one() -> None:
    def devices(text: str) -> list[str]:
        return [one.device for one in Runtime(device=text).choices()]

    assert devices("GPU, NPU,CPU") == ["GPU", "NPU", "CPU"]
    assert devices("CPU") == ["CPU"]
    assert devices("AUTO:GPU,CPU") == ["AUTO:GPU,CPU"]
    assert Runtime(device="GPU,NPU,CPU").missed(("CPU",)) == ("GPU", "NPU")
    assert Runtime(device="GPU,CPU").missed(("GPU",)) == ()
    assert Runtime(device="NPU,GPU,CPU").missed(("GPU.0",)) == ("NPU",)
    assert Runtime(device="AUTO:GPU,CPU").missed(("CPU",)) == ()


@pytest.mark.goal(40)
def test_auto_does_not_begin_on_another_device_than_it_will_stay_on() -> None:
    assert Runtime(device="AUTO:GPU,CPU").properties(DIGEST, BUILD) == {"ENABLE_STARTUP_FALLBACK": False}

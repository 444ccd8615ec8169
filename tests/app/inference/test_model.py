"""The door to OpenVINO, with small real models."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import Runtime, available_devices, load_model
from app_inference.models.repository import stored_model
from app_inference.vision.detections import Classes, Detections
from openvino import opset13 as op

from tests.app.colours import COLORS, loaded, means, plain, with_manifest

BuildModel = Callable[..., Path]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"color": "BGR", "scale": [100]}, [0.1, 0.5, 2.4]),
        ({"color": "RGB", "scale": [100]}, [2.4, 0.5, 0.1]),
        ({"color": "RGB", "mean": [240, 40, 0], "scale": [100, 10, 1]}, [0, 1, 10]),
        ({"color": "BGR", "mean": [10], "scale": [20, 40, 100]}, [0, 1, 2.3]),
    ],
)
def test_the_graph_swaps_colours_then_takes_the_mean_then_the_scale(
    build_mean_color: BuildModel, layout: str, settings: dict[str, Any], expected: list[float]
) -> None:
    with loaded(build_mean_color(layout), **settings) as model:
        assert means(model, plain(COLORS["red"])) == pytest.approx(expected, abs=2e-3)


def test_model_info_says_how_the_picture_is_prepared(build_mean_color: BuildModel) -> None:
    info = {
        "model_type": "Classification",
        "labels": "red green blue",
        "reverse_input_channels": "YES",
        "scale_values": "100 100 100",
        "topk": "2",
    }
    model = load_model(stored_model(build_mean_color(info=info)))
    result, timings = model.session().analyse(plain(COLORS["green"]))
    assert isinstance(result, Classes)
    assert [model.labels[number] for number in result.class_ids] == ["green", "blue"]
    assert model.resolved.origins["color"] == "model_info"
    assert min(timings.pre, timings.infer, timings.post) > 0


def test_a_loaded_model_says_what_it_is(build_mean_color: BuildModel) -> None:
    path = build_mean_color()
    model = loaded(path, labels=["a", "b", "c"])
    assert (model.name, model.version, model.task, model.model_type) == (
        "model", "0.0.0", "classification", "classification",
    )  # fmt: skip
    assert model.input_size == (32, 32)
    assert model.labels == ("a", "b", "c")
    assert model.execution_devices == ("CPU",)
    assert model.precision == "FP32"
    assert model.digest == stored_model(path).digest()
    assert "CPU" in available_devices()


def test_a_model_of_any_size_gets_the_one_that_is_said(build_mean_color: BuildModel) -> None:
    path = build_mean_color(dynamic=True)
    with pytest.raises(ModelRejected, match=r"picture \[1, 3, \?, \?\] float32 has no fixed size; say input.size"):
        loaded(path)
    assert loaded(path, size=(64, 24)).input_size == (64, 24)


def test_each_thread_gets_the_answer_to_its_own_picture(build_mean_color: BuildModel) -> None:
    model = loaded(build_mean_color(), runtime=Runtime(streams=2), multilabel=False, scale=[100.0], labels=list("bgr"))
    model.warm_up()
    wrong: list[str] = []

    def work(name: str, wanted: int) -> None:
        session = model.session()
        for _ in range(150):
            result, _ = session.analyse(plain(COLORS[name]))
            assert isinstance(result, Classes)
            if result.class_ids.tolist() != [wanted]:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name, index)) for index, name in enumerate(COLORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []


def test_a_result_outlives_the_next_analysis(build_saying: BuildModel) -> None:
    raw = np.zeros((1, 6, 84), np.float32)
    raw[0, :, 3] = (30, 30, 20, 20, 0.9, 0)
    with load_model(stored_model(build_saying({"output0": raw})), {"type": "yolov8"}) as model:
        session = model.session()
        first, _ = session.analyse(plain(COLORS["red"]))
        assert isinstance(first, Detections)
        before = first.boxes.copy()
        for _ in range(5):
            session.analyse(plain(COLORS["blue"], (300, 200)))
        assert (first.boxes == before).all()
        assert len(before) == 1


@pytest.mark.goal(9)
def test_the_same_picture_says_the_same_after_another_model_was_loaded(build_mean_color: BuildModel) -> None:
    first = loaded(build_mean_color(name="first"), color="BGR")
    before = means(first, plain((1, 2, 3)))
    second = loaded(build_mean_color(name="second"), color="RGB", mean=[1.0], scale=[50.0])
    means(second, plain((1, 2, 3)))
    assert means(first, plain((1, 2, 3))) == before


def test_options_change_from_one_frame_to_the_next(build_saying: BuildModel) -> None:
    raw = np.zeros((1, 6, 84), np.float32)
    raw[0, :, 3] = (30, 30, 20, 20, 0.6, 0)
    with load_model(stored_model(build_saying({"output0": raw})), {"type": "yolov8"}) as model:
        session = model.session()
        found, _ = session.analyse(plain(COLORS["red"]))
        fewer, _ = session.analyse(plain(COLORS["red"]), replace(model.resolved.options, confidence=0.7))
        assert isinstance(found, Detections)
        assert isinstance(fewer, Detections)
        assert (len(found), len(fewer)) == (1, 0)


def test_a_closed_model_opens_no_session(build_mean_color: BuildModel) -> None:
    model = loaded(build_mean_color())
    session = model.session()
    model.close()
    with pytest.raises(ModelUnavailable, match=r"model@0\.0\.0 is closed"):
        model.session()
    session.analyse(plain(COLORS["red"]))  # what was begun may end


@pytest.mark.goal(40)
def test_a_device_that_is_not_there_gives_way_to_the_next_and_that_is_told(
    build_mean_color: BuildModel, caplog: pytest.LogCaptureFixture
) -> None:
    model = loaded(build_mean_color(), Runtime(device="GPU.7,CPU"))
    assert (model.execution_devices, model.missed_devices) == (("CPU",), ("GPU.7",))
    assert "runs on CPU, as it cannot on GPU.7" in model.warnings
    assert "cannot run on GPU.7" in caplog.text
    with pytest.raises(ModelUnavailable, match=r"cannot run on GPU\.7: .*; nor on NPU\.7"):
        loaded(build_mean_color(name="other"), Runtime(device="GPU.7,NPU.7"))


@pytest.mark.goal(40)
def test_auto_names_the_device_that_it_has_chosen(build_mean_color: BuildModel) -> None:
    model = loaded(build_mean_color(), Runtime(device="AUTO:CPU", precision="f32"))
    assert (model.execution_devices, model.precision) == (("CPU",), "FP32")
    model.warm_up()


def test_a_precision_that_the_device_lacks_is_said(build_mean_color: BuildModel) -> None:
    model = loaded(build_mean_color(), Runtime(precision="bf16"))
    is_native = model.precision == "BF16"
    assert is_native or any("cannot compute in BF16" in warning for warning in model.warnings)
    assert loaded(build_mean_color(), Runtime(precision="f32")).warnings == ()


def test_overwriting_the_weights_does_not_touch_the_running_model(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    picture = op.parameter([1, 3, 16, 16], np.float32, name="picture")
    weights = op.constant(np.random.default_rng(0).normal(0, 1e-3, (768, 256)).astype(np.float32))
    scores = op.matmul(op.reshape(picture, np.array([1, 768]), False), weights, False, False)
    ov.save_model(ov.Model([op.result(scores)], [picture], "m"), path, compress_to_fp16=False)
    session = loaded(path).session()
    before, _ = session.analyse(plain(COLORS["red"]))
    assert str(path.with_suffix(".bin")) not in Path("/proc/self/maps").read_text()
    with path.with_suffix(".bin").open("r+b") as file:
        file.truncate(0)
    after, _ = session.analyse(plain(COLORS["red"]))
    assert isinstance(before, Classes)
    assert isinstance(after, Classes)
    assert after.scores.tolist() == before.scores.tolist()


def test_a_layout_can_be_said_where_the_shape_does_not(tmp_path: Path) -> None:
    picture = op.parameter([1, 3, 8, 3], np.float32, name="picture")
    ov.save_model(
        ov.Model([op.result(op.reduce_mean(picture, np.array([1, 2])))], [picture], "m"), tmp_path / "model.xml"
    )
    assert loaded(tmp_path / "model.xml", layout="NHWC").input_size == (8, 3)


def test_the_manifest_beside_the_file_names_and_prepares_it(build_mean_color: BuildModel) -> None:
    stored = with_manifest(build_mean_color(), "input: {color: RGB, scale: [100]}\nmin_openvino: '2024.0'\n")
    model = load_model(stored)
    assert (model.name, model.version, model.labels) == ("colours", "2.1.0", ("b", "g", "r"))
    assert model.resolved.origins["color"] == "manifest"


def test_loading_and_closing_again_and_again_keeps_memory(build_mean_color: BuildModel) -> None:
    path = build_mean_color()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cycle(times: int) -> None:
        for _ in range(times):
            with loaded(path) as model:
                model.warm_up()

    cycle(30)
    before = resident()
    cycle(60)
    assert resident() - before < 15_000_000

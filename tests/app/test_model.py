"""The door to OpenVINO, with small real models."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from app_inference.detections import Classes, Detections
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.images import Image, image_from_pixels
from app_inference.model import Model, Runtime, available_devices, load_model
from app_inference.repository import StoredModel, stored_model
from edgex_kit.errors import EdgexError
from openvino import opset13 as op

BuildModel = Callable[..., Path]

COLORS = {"blue": (250, 20, 60), "green": (40, 250, 30), "red": (10, 50, 240)}  # BGR


def plain(color: tuple[int, int, int], size: tuple[int, int] = (48, 40)) -> Image:
    return image_from_pixels(np.full((size[1], size[0], 3), color, np.uint8))


def loaded(path: Path, runtime: Runtime | None = None, **overrides: Any) -> Model:
    return load_model(stored_model(path), {"type": "classification", "multilabel": True, **overrides}, runtime)


def means(model: Model, image: Image) -> list[float]:
    """What the mean-colour model computed for each of its channels, before its sigmoid."""
    result, _ = model.session().analyse(image, replace(model.resolved.options, confidence=0.0))
    assert isinstance(result, Classes)
    scores = result.scores[np.argsort(result.class_ids)].astype(np.float64)
    return np.log(scores / (1 - scores)).tolist()  # type: ignore[no-any-return]


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
    assert model.precision in ("FP32", "BF16", "FP16")
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


@pytest.mark.goal(29)
def test_new_weights_under_an_unchanged_graph_are_not_answered_from_the_cache(
    build_saying: BuildModel, tmp_path: Path
) -> None:
    path = build_saying({"logits": np.array([[0.8, 0.2]], np.float32)})
    later = path.with_suffix(".bin").read_bytes()
    path = build_saying({"logits": np.array([[0.9, 0.1]], np.float32)})

    def score() -> tuple[float, bool]:
        model = load_model(stored_model(path), {"type": "classification"}, Runtime(cache_dir=tmp_path / "cache"))
        result, _ = model.session().analyse(plain(COLORS["red"]))
        assert isinstance(result, Classes)
        return round(float(result.scores[0]), 3), model.is_from_cache

    assert score() == (0.9, False)
    assert score() == (0.9, True)
    path.with_suffix(".bin").write_bytes(later)
    assert score() == (0.8, False)


@pytest.mark.goal(41)
def test_a_cache_that_is_a_file_is_done_without(
    build_mean_color: BuildModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    loaded(build_mean_color(), runtime=Runtime(cache_dir=tmp_path / "cache")).warm_up()
    assert "compiled models are not kept" in caplog.text


@pytest.mark.goal(41)
def test_a_second_start_takes_the_compiled_form_and_another_openvino_makes_its_own(
    build_mean_color: BuildModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, runtime = build_mean_color(), Runtime(cache_dir=tmp_path / "cache")
    assert [loaded(path, runtime).is_from_cache for _ in range(3)] == [False, True, True]
    monkeypatch.setattr("app_inference.model.ov.get_version", lambda: "2027.1.0-1-after-an-upgrade")
    assert [loaded(path, runtime).is_from_cache for _ in range(2)] == [False, True]


@pytest.mark.goal(41)
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_compiled_form_that_was_cut_short_is_made_anew(
    build_mean_color: BuildModel, tmp_path: Path, left: float
) -> None:
    path, runtime = build_mean_color(), Runtime(cache_dir=tmp_path / "cache")
    before = loaded(path, runtime).session().analyse(plain(COLORS["red"]))[0]
    for blob in (tmp_path / "cache").rglob("*.blob"):
        blob.write_bytes(blob.read_bytes()[: int(blob.stat().st_size * left)])
    model = loaded(path, runtime)
    assert not model.is_from_cache
    after = model.session().analyse(plain(COLORS["red"]))[0]
    assert isinstance(before, Classes) and isinstance(after, Classes)  # noqa: PT018 - for the type checker
    assert np.array_equal(before.scores, after.scores)


# No file may grow beyond 64 bytes here: the nearest to a full disk that needs no disk.
ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from app_inference.model import Runtime, load_model
from app_inference.repository import stored_model
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
runtime = Runtime(cache_dir=Path(sys.argv[2]))
for _ in range(2):
    model = load_model(stored_model(Path(sys.argv[1])), {"type": "classification"}, runtime)
    model.warm_up()
    assert not model.is_from_cache
    del model
"""


@pytest.mark.goal(41)
def test_a_full_disk_costs_the_compiled_form_and_nothing_else(build_mean_color: BuildModel, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(build_mean_color()), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert done.returncode == 0, done.stderr


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
    model = loaded(build_mean_color(), Runtime(device="AUTO:CPU"))
    assert (model.execution_devices, model.precision) == (("CPU",), "FP32")
    model.warm_up()


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


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.onnx", b"\x00" * 100),
        ("model.xml", b"<net"),
        ("model.xml", b""),
        ("model.tflite", b"TFL3" * 10),
        ("model.pb", b"not a graph"),
        ("model.pdmodel", b"not a program"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line_that_names_it(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelRejected, match=f"{name}: (OpenVINO cannot read it: |the file is empty)") as refused:
        load_model(stored_model(tmp_path / name), {"type": "yolox"})
    said = str(refused.value)
    assert "\n" not in said
    assert "Exception from" not in said
    assert len(said) < 400


def test_a_model_without_a_type_is_refused_before_it_is_compiled(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelRejected, match=r"no model type given for model.xml; say one of .*--model-type"):
        load_model(stored_model(build_mean_color()))


def test_a_model_of_the_wrong_family_is_refused_with_what_it_has(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelRejected, match=r"model.xml: type yolox expects .*; the model has logits \[1, 3\] float32"):
        loaded(build_mean_color(), type="yolox")


def test_labels_of_another_model_are_refused(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelRejected, match="3 classes apart, 7 labels are given"):
        loaded(build_mean_color(), labels=list("abcdefg"))


def test_a_device_that_is_not_there_is_unavailable(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelUnavailable, match=r"model.xml: cannot run on NPU: ") as refused:
        loaded(build_mean_color(), runtime=Runtime(device="NPU"))
    assert "\n" not in str(refused.value)


def test_two_inputs_are_one_too_many(tmp_path: Path) -> None:
    picture, other = (
        op.parameter([1, 3, 8, 8], np.float32, name="picture"),
        op.parameter([1, 3], np.float32, name="info"),
    )
    path = tmp_path / "model.xml"
    ov.save_model(ov.Model([op.result(op.relu(picture)), op.result(op.relu(other))], [picture, other], "m"), path)
    with pytest.raises(ModelRejected, match=r"expected one input, a picture; it has 2: picture, info"):
        loaded(path)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([1, 10], r"\[1, 10\] float32 is no picture"),
        ([1, 1, 8, 8], r"\[1, 1, 8, 8\] float32 does not tell NCHW from NHWC"),
        ([1, 3, 8, 3], r"does not tell NCHW from NHWC .* say input.layout"),
    ],
)
def test_an_input_that_is_no_colour_picture_is_refused(tmp_path: Path, shape: list[int], said: str) -> None:
    parameter = op.parameter(shape, np.float32, name="picture")
    ov.save_model(ov.Model([op.result(op.relu(parameter))], [parameter], "m"), tmp_path / "model.xml")
    with pytest.raises(ModelRejected, match=said):
        loaded(tmp_path / "model.xml")


def test_a_layout_can_be_said_where_the_shape_does_not(tmp_path: Path) -> None:
    picture = op.parameter([1, 3, 8, 3], np.float32, name="picture")
    ov.save_model(
        ov.Model([op.result(op.reduce_mean(picture, np.array([1, 2])))], [picture], "m"), tmp_path / "model.xml"
    )
    assert loaded(tmp_path / "model.xml", layout="NHWC").input_size == (8, 3)


MANIFEST = "schema: vision.model/1\nname: colours\nversion: 2.1.0\ntype: classification\nlabels: [b, g, r]\n"


def with_manifest(path: Path, text: str) -> StoredModel:
    (path.parent / "manifest.yaml").write_text(MANIFEST + text)
    return stored_model(path)


def test_the_manifest_beside_the_file_names_and_prepares_it(build_mean_color: BuildModel) -> None:
    stored = with_manifest(build_mean_color(), "input: {color: RGB, scale: [100]}\nmin_openvino: '2024.0'\n")
    model = load_model(stored)
    assert (model.name, model.version, model.labels) == ("colours", "2.1.0", ("b", "g", "r"))
    assert model.resolved.origins["color"] == "manifest"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: detection", "type classification does classification, manifest.yaml says task detection"),
        ("input: {dtype: u8}", r"picture \[1, 3, 32, 32\] float32 is not of the dtype that manifest.yaml says, u8"),
    ],
)
def test_a_manifest_that_speaks_of_another_model_is_refused(build_mean_color: BuildModel, text: str, said: str) -> None:
    with pytest.raises(ModelRejected, match=said):
        load_model(with_manifest(build_mean_color(), text))


@pytest.mark.goal(47)
@pytest.mark.parametrize("limits", ["min_openvino: '2099.1'", "max_openvino: '2024.6'"])
def test_a_model_made_for_another_openvino_is_refused(build_mean_color: BuildModel, limits: str) -> None:
    with pytest.raises(ModelRejected, match=r"model.xml: made for OpenVINO (from 2099.1|up to 2024.6), this is 20"):
        load_model(with_manifest(build_mean_color(), limits))


@pytest.mark.goal(28)
def test_a_changed_file_is_refused_before_it_is_read(build_mean_color: BuildModel) -> None:
    path = build_mean_color()
    size = path.stat().st_size
    files = f"files:\n  - {{name: model.xml, size: {size}, sha256: '{'0' * 64}'}}\n"
    with pytest.raises(ModelRejected, match=r"manifest\.yaml says 000000000000…"):
        load_model(with_manifest(path, files))


def test_every_refusal_has_a_status(build_mean_color: BuildModel) -> None:
    assert issubclass(ModelRejected, EdgexError)
    assert (ModelRejected.status, ModelUnavailable.status) == (400, 503)


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

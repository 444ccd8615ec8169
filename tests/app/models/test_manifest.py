"""`manifest.yaml`."""

import contextlib
import time

import pytest
from app_inference.errors import ModelRejected
from app_inference.models.manifest import manifest_text, parse_labels, parse_manifest
from hypothesis import given
from hypothesis import strategies as st

SMALL = """
schema: vision.model/1
name: yolox-nano
version: 1.0.0
type: yolox
"""

FULL = (
    SMALL
    + """
release: 3
task: detection
description: COCO objects
labels: [person, bicycle]
label_offset: 1
input:
  size: [416, 320]
  layout: NCHW
  color: BGR
  resize: fit_to_window
  pad: 114
  mean: [0]
  scale: [1.0, 2.0, 3.0]
  dtype: f32
thresholds: {confidence: 0.3, iou: 0.6, top_k: 3, agnostic_nms: true}
files:
  - name: model.onnx
    size: 3713911
    sha256: "00d2069ef8e07b82cc0a3e8fcd4e35d1a4b5e70b2fdb3d3a8a9fbb6bd2a8e9d0"
    source: pypi:some-package==1.0#models/model.onnx
license: Apache-2.0
source: https://example.org/yolox
golden:
  - {input: golden/one.jpg, output: golden/one.json, tolerance: 0.02}
limits: {latency_ms: 80, memory_mb: 300, error_rate: 0.01}
min_openvino: "2025.3"
max_openvino: "2027"
"""
)


def test_name_and_version_are_enough_and_a_type_where_the_model_has_none() -> None:
    manifest = parse_manifest(SMALL)
    assert (manifest.name, manifest.version, manifest.type) == ("yolox-nano", "1.0.0", "yolox")
    assert manifest.labels is None
    assert manifest.input.size is None


def test_every_key_is_read() -> None:
    manifest = parse_manifest(FULL)
    assert manifest.input.size == (416, 320)
    assert manifest.input.scale == [1, 2, 3]
    assert manifest.thresholds.top_k == 3
    assert manifest.files[0].size == 3713911
    assert manifest.golden[0].output == "golden/one.json"
    assert manifest.limits.latency_ms == 80


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("schema: vision.model/1", "schema: vision.model/2"), r"Invalid enum value 'vision.model/2' - at `\$.schema`"),
        (("schema: vision.model/1\n", ""), "missing required field `schema`"),
        (("version: 1.0.0\n", ""), "missing required field `version`"),
        (("version: 1.0.0", "version: 1.0"), r"Expected `str`, got `float` - at `\$.version`"),
        (("version: 1.0.0", "version: newest"), "version 'newest' is not of the form"),
        (("name: yolox-nano", "name: ../secret"), r"\$.name"),
        (("release: 3", "relaese: 3"), "unknown field `relaese`"),
        (("size: [416, 320]", "size: [416]"), r"\$.input.size"),
        (("size: [416, 320]", "size: [0, 320]"), r"\$.input.size"),
        (("task: detection", "task: detecting"), r"Invalid enum value 'detecting' - at `\$.task`"),
        (("color: BGR", "color: YUV"), r"\$.input.color"),
        (("resize: fit_to_window", "resize: squeeze"), r"\$.input.resize"),
        (("pad: 114", "pad: 300"), r"\$.input.pad"),
        (("mean: [0]", "mean: [0, 1]"), "one number or three"),
        (("scale: [1.0, 2.0, 3.0]", "scale: [0, 1, 1]"), "scale holds a zero"),
        (("confidence: 0.3", "confidence: 30"), r"\$.thresholds.confidence"),
        (("00d2069ef8e07b82", "00D2069EF8E07B82"), r"\$.files\[0\].sha256"),
        (("name: model.onnx", "name: ../model.onnx"), "'../model.onnx' lies outside"),
        (("name: model.onnx", "name: /etc/passwd"), "'/etc/passwd' lies outside"),
        (("label_offset: 1", "labels_file: labels.txt"), "labels and labels_file are both given"),
        (("license: Apache-2.0", "license: [unclosed"), "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: tuple[str, str], said: str) -> None:
    assert change[0] in FULL
    with pytest.raises(ModelRejected, match=said) as refused:
        parse_manifest(FULL.replace(*change), "models/x/manifest.yaml")
    assert str(refused.value).startswith("models/x/manifest.yaml: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "just words", "- a\n- b", "!!python/object:os.system {}", "a: &x [*x]"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ModelRejected):
        parse_manifest(text)


def test_a_written_manifest_reads_as_it_was() -> None:
    for text in (SMALL, FULL):
        assert parse_manifest(manifest_text(parse_manifest(text))) == parse_manifest(text)


def test_labels_are_lines() -> None:
    assert parse_labels("person\n traffic light \nn/a\n\n\n") == ("person", "traffic light", "n/a")
    assert parse_labels("background\r\ncat\r\n") == ("background", "cat")


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "text",
    [
        "created: 2026-13-45",
        "a: " + "[" * 3000,
        "a: " + "{a: " * 3000,
        f"min_openvino: {'9' * 5000}",
        "a: !!int ''",
        "a: !!float 'x'",
        "a: !!timestamp 'x'",
        "a: !!binary 'x'",
        "a: !!set 3",
        "? [a, b]\n: c",
        "1: 2",
        "a: " + "x" * 2_000_000,
        "input: {scale: [.nan]}",
        "input: {mean: [.inf]}",
        'name: "yolox\\n"',
        'labels_file: "a\\n.txt"',
        'files: [{name: "a", size: 1, sha256: "' + "a" * 64 + '\\n"}]',
    ],
    ids=lambda text: str(text)[:24],
)
def test_every_manifest_that_cannot_be_read_is_refused_with_its_name(text: str) -> None:
    began = time.process_time()
    key = text.partition(":")[0]
    own = "".join(line + "\n" for line in SMALL.strip().splitlines() if line.partition(":")[0] != key)
    with pytest.raises(ModelRejected, match=r"^m\.yaml: "):
        parse_manifest(own + text, "m.yaml")
    assert time.process_time() - began < 2


@pytest.mark.fault(18)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_a_manifest_or_refused(text: str | bytes) -> None:
    with contextlib.suppress(ModelRejected):
        parse_manifest(text)

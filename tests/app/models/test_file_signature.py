"""A file that is not what its suffix says is refused with what it lacks, before OpenVINO tries all it has on it."""

from pathlib import Path

import pytest
from app_inference.errors import ModelRejected
from app_inference.inference.model import ports
from app_inference.models.file_signature import check_kind, unreadable
from app_inference.models.repository import stored_model


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("net.onnx", b"", "net.onnx: the file is empty"),
        ("net.tflite", b"\0" * 64, "net.tflite: no TFLite file: it lacks the mark TFL3"),
        ("net.xml", b"<html>", "net.xml: no OpenVINO IR"),
    ],
)
def test_a_file_of_another_kind_is_named_with_what_it_lacks(
    tmp_path: Path, name: str, data: bytes, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelRejected, match=said):
        ports(stored_model(tmp_path / name))
    assert capfd.readouterr() == ("", "")  # OpenVINO's readers were not asked


@pytest.mark.parametrize(
    ("name", "data"), [("net.tflite", b"\x1c\0\0\0TFL3"), ("net.xml", b"<?xml?><net>"), ("n.pb", b"x")]
)
def test_what_could_be_one_is_left_to_openvino(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    check_kind(tmp_path / name)
    check_kind(tmp_path)


def test_a_list_of_openvinos_readers_is_no_cause() -> None:
    path = Path("net.onnx")
    assert str(unreadable(path, "Unable to read the model: x. Available frontends: jax")).endswith(
        "net.onnx: OpenVINO cannot read it: it is damaged, or of another kind than its name says"
    )
    assert "Model can't be parsed" in str(unreadable(path, "Model can't be parsed"))

"""What a model file begins with: one that is empty, or another thing, is known by its first bytes.

OpenVINO tries every reader it has on such a file, aloud, and blames none of them."""

from pathlib import Path

from app_inference.errors import ModelRejected

_HEAD = 4096  # bytes


def check_kind(path: Path) -> None:
    """Raise ModelRejected for a file that cannot be what its suffix says; folders and other suffixes are left alone."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise ModelRejected(f"{path}: the file is empty")
    if path.suffix == ".tflite" and head[4:8] != b"TFL3":
        raise ModelRejected(f"{path}: no TFLite file: it lacks the mark TFL3 at its start")
    if path.suffix == ".xml" and b"<net" not in head:
        raise ModelRejected(f"{path}: no OpenVINO IR: an XML file with <net> expected")


def unreadable(path: Path, cause: str) -> ModelRejected:
    """The refusal of a file that OpenVINO could not read, for the `cause` it gave."""
    if cause.startswith("Unable to read the model"):  # then comes a list of its readers, and nothing that is wrong
        cause = "it is damaged, or of another kind than its name says"
    return ModelRejected(f"{path}: OpenVINO cannot read it: {cause}")

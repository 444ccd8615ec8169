"""Which decoder reads which model: the known types, and the names that others have for them."""

from collections.abc import Sequence

from app_inference.decoders.anomaly import ANOMALY
from app_inference.decoders.blazeface import BLAZEFACE
from app_inference.decoders.boxes_labels import BOXES_LABELS
from app_inference.decoders.classification import CLASSIFICATION
from app_inference.decoders.decoder import Decoder, TensorSpec
from app_inference.decoders.fastestdet import FASTESTDET
from app_inference.decoders.movenet import MOVENET
from app_inference.decoders.segmentation import SEGMENTATION
from app_inference.decoders.ssd import SSD, SSD_TF
from app_inference.decoders.steps import outputs_text
from app_inference.decoders.yolo import YOLO_END2END, YOLO_POSE, YOLO_SEG, YOLOV5, YOLOV8, YOLOX
from app_inference.decoders.yunet import YUNET
from app_inference.errors import ModelRejected
from app_inference.vision.image import Size

_ALL = (
    YOLOX, YOLOV8, YOLOV5, YOLO_END2END, YOLO_SEG, YOLO_POSE, SSD, SSD_TF, BOXES_LABELS, FASTESTDET, YUNET,
    BLAZEFACE,
    CLASSIFICATION, SEGMENTATION, MOVENET, ANOMALY,
)  # fmt: skip

DECODERS: dict[str, Decoder] = {decoder.type: decoder for decoder in _ALL}

_ULTRALYTICS = ("yolov8", "yolo_end2end", "yolo_seg", "yolo_pose")

# What producers call their models, and what that may mean: Ultralytics writes YOLO for every task, OpenVINO's
# model_api SSD for three kinds of outputs. The outputs must then leave exactly one.
ALIASES: dict[str, tuple[str, ...]] = {
    "yolo": _ULTRALYTICS,
    **dict.fromkeys(
        ("yolov8", "yolo_v8", "yolov9", "yolo_v9", "yolo11", "yolov11", "yolo_v11", "yolo12"), _ULTRALYTICS
    ),
    **dict.fromkeys(("yolov10", "yolo_v10", "yolo26", "yolo_v26"), _ULTRALYTICS),
    **dict.fromkeys(("yolov5", "yolo_v5", "yolov7", "yolo_v7"), ("yolov5", "yolov8", "yolo_seg")),
    "ultralytics_detect": ("yolov8", "yolo_end2end"),  # the task in `metadata.yaml`
    "ultralytics_segment": ("yolo_seg",),
    "ultralytics_pose": ("yolo_pose",),
    "ultralytics_classify": ("classification",),
    "yolo_x": ("yolox",),
    "ssd": ("ssd", "boxes_labels_scores", "ssd_tf"),
    "detection_output": ("ssd",),
    "boxes_labels": ("boxes_labels_scores",),
    "label": ("classification",),
    "semantic_mask": ("segmentation",),
    "anomalydetection": ("anomaly",),
    "anomaly_detection": ("anomaly",),
}


def normalise(model_type: str, outputs: Sequence[TensorSpec], labels: int = 0, size: Size | None = None) -> str:
    """The type of a model that its producer calls `model_type`, checked by its outputs; raises ModelRejected.

    One of our own names is taken if the outputs fit; for another name, exactly one meaning must fit the outputs.
    """
    own = _word(model_type)
    mismatches = {name: _mismatch(DECODERS[name], outputs, labels, size) for name in _meanings(model_type)}
    fitting = [name for name, mismatch in mismatches.items() if mismatch is None]
    if own in fitting:
        return own
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ModelRejected(f"type {model_type} may mean {' or '.join(fitting)}: say which; {outputs_text(outputs)}")
    raise ModelRejected("; or ".join(filter(None, mismatches.values())))


def _word(model_type: str) -> str:
    return model_type.strip().lower().replace("-", "_").replace(" ", "_")


def _meanings(model_type: str) -> tuple[str, ...]:
    word = _word(model_type)
    meanings = ALIASES.get(word) or ((word,) if word in DECODERS else ())
    if not meanings:
        raise ModelRejected(f"model type {model_type!r} is not known; known are {', '.join(sorted(DECODERS))}")
    return meanings


def _mismatch(decoder: Decoder, outputs: Sequence[TensorSpec], labels: int, size: Size | None) -> str | None:
    try:
        decoder.check(outputs, labels, size)
    except ModelRejected as rejected:
        return str(rejected)
    return None

"""Which decoder reads which model: the types we know, the names others have for them, and no guessing."""

from collections.abc import Sequence

from app_inference.decoders.contract import Decoder, TensorSpec, came
from app_inference.decoders.ssd import SSD, SSD_TF
from app_inference.decoders.yolox import YOLOX
from app_inference.errors import ModelRejected
from app_inference.images import Size

DECODERS: dict[str, Decoder] = {decoder.type: decoder for decoder in (YOLOX, SSD, SSD_TF)}

# What producers call their models, and what that may mean; the outputs' shapes must then leave exactly one.
ALIASES: dict[str, tuple[str, ...]] = {
    "ssd": ("ssd", "ssd_tf"),
    "detection_output": ("ssd",),
    "tf_object_detection": ("ssd_tf",),
}


def normalise(model_type: str, outputs: Sequence[TensorSpec], labels: int = 0, size: Size | None = None) -> str:
    """Our type for what the model's maker calls `model_type`, proved by its outputs; raises ModelRejected."""
    candidates = [DECODERS[name] for name in _meanings(model_type)]
    complaints = {decoder.type: _complaint(decoder, outputs, labels, size) for decoder in candidates}
    fitting = [name for name, complaint in complaints.items() if complaint is None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ModelRejected(f"type {model_type} may mean {' or '.join(fitting)} here: say which; {came(outputs)}")
    raise ModelRejected("; or ".join(filter(None, complaints.values())))


def _meanings(model_type: str) -> tuple[str, ...]:
    word = model_type.strip().lower().replace("-", "_").replace(" ", "_")
    meanings = ALIASES.get(word) or ((word,) if word in DECODERS else ())
    if not meanings:
        raise ModelRejected(f"model type {model_type!r} is not known; known are {', '.join(sorted(DECODERS))}")
    return meanings


def _complaint(decoder: Decoder, outputs: Sequence[TensorSpec], labels: int, size: Size | None) -> str | None:
    try:
        decoder.check(outputs, labels, size)
    except ModelRejected as rejected:
        return str(rejected)
    return None

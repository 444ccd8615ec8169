"""The one shape a model's input is given: from the settings, else from what the model declares."""

from dataclasses import dataclass

from app_inference.decoders import TensorSpec
from app_inference.errors import ModelRejected
from app_inference.models.resolution import Stated
from app_inference.vision.image import Size

_DTYPES = {"u8": "uint8", "f16": "float16", "f32": "float32"}
_CHANNELS_AT = {"NCHW": 1, "NHWC": 3}


@dataclass(frozen=True, slots=True)
class InputShape:
    """A picture of three channels, as the model wants it."""

    layout: str  # NCHW or NHWC
    size: Size

    def sides(self) -> tuple[int, ...]:
        """The tensor's shape, one picture at a time."""
        width, height = self.size
        return (1, 3, height, width) if self.layout == "NCHW" else (1, height, width, 3)


def input_shape(port: TensorSpec, stated: Stated) -> InputShape:
    """The shape for a model whose input is `port`; raises ModelRejected where it stays unclear."""
    if len(port.shape) != 4:
        raise ModelRejected(f"its input {port} is no picture: expected [1, 3, height, width] or [1, height, width, 3]")
    if port.dtype != _DTYPES.get(stated.get("dtype"), port.dtype):
        raise ModelRejected(f"its input {port} is not of the dtype that manifest.yaml says, {stated.get('dtype')}")
    layout = stated.get("layout") or _layout(port)
    width, height = stated.get("size") or _size(port, layout)
    return InputShape(layout, (width, height))


def _layout(port: TensorSpec) -> str:
    layouts = [layout for layout, at in _CHANNELS_AT.items() if port.shape[at] == 3]
    if len(layouts) != 1:
        raise ModelRejected(f"its input {port} does not tell NCHW from NHWC with 3 channels; say input.layout")
    return layouts[0]


def _size(port: TensorSpec, layout: str) -> Size:
    height, width = port.shape[2:4] if layout == "NCHW" else port.shape[1:3]
    if not width or not height:
        raise ModelRejected(f"its input {port} has no fixed size; say input.size: [width, height] in manifest.yaml")
    return width, height

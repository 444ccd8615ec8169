"""A frame's bytes to its pixels, whichever kind of picture they are: JPEG as cameras send it, or PNG. Pure."""

import cv2
import numpy as np

from app_inference.errors import ImageBroken
from app_inference.vision.image import MAX_PIXELS, Image, Size, image_from_jpeg, image_from_pixels

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"


def image_from_bytes(data: bytes, needed: Size | None = None, keeps_ratio: bool = False) -> Image:
    """Decode a picture for a model input as `image_from_jpeg` does; a PNG always in full. Raises ImageBroken.

    Its first bytes say what it is: senders are not always right about the media type.
    """
    if data.startswith(_PNG):
        return image_from_png(data)
    return image_from_jpeg(data, needed, keeps_ratio)


def image_from_png(data: bytes) -> Image:
    """A PNG in 8 bits a colour, without its transparency; raises ImageBroken."""
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if width * height > MAX_PIXELS:
        raise ImageBroken(f"PNG of {width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels")
    # libpng would say so on stderr, once a frame.
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data.endswith(_PNG_END) else None
    if pixels is None:
        raise ImageBroken(f"PNG of {width}x{height} in {len(data)} bytes is cut off or damaged")
    return image_from_pixels(pixels)

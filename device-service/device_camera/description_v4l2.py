"""What a V4L2 camera says of itself as Object readings, in the words of device-usb-camera."""

from fractions import Fraction
from typing import Any

from device_camera.description import rate_from
from device_camera.v4l2.node import Node


class NodeDescription:
    """Of an open V4L2 node. Every call may raise DriverFailed. Blocking."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def info(self) -> dict[str, Any]:
        found = self._node.capability()
        return {
            "Driver": found.driver,
            "Card": found.card,
            "BusInfo": found.bus_info,
            "Version": found.version,
            "DriverCaps": found.driver_caps,
            "DeviceCaps": found.device_caps,
        }

    def status(self) -> int:
        """0 Ready, 1 No Power, 2 No Signal, 3 No Color, as device-usb-camera counts V4L2's bits."""
        bits = self._node.status()
        return next((number for number, bit in enumerate((1, 2, 4), 1) if bits & bit), 0)

    def image_formats(self) -> dict[str, Any]:
        formats = [
            {
                "Index": index,
                "Description": words,
                "PixelFormat": fourcc,
                "FrameSizes": [{"Width": width, "Height": height} for width, height in self._node.sizes(fourcc)],
            }
            for index, (fourcc, words) in enumerate(self._node.formats())
        ]
        return {"ImageFormats": formats}

    def frame_rate_formats(self) -> dict[str, Any]:
        formats = [
            {"Description": words, "PixelFormat": fourcc, "FrameRates": self._rates(fourcc)}
            for fourcc, words in self._node.formats()
        ]
        return {"FrameRateFormats": formats}

    def data_format(self) -> dict[str, Any]:
        now = self._node.pixel_format()
        words = dict(self._node.formats()).get(now.fourcc, "")
        return {**self.pixel_format(), "PixelFormatDescription": words, "FrameRates": [self.frame_rate()]}

    def frame_rate(self) -> dict[str, Any]:
        return rate_from(_fraction(*self._node.frame_rate()))

    def pixel_format(self) -> dict[str, Any]:
        now = self._node.pixel_format()
        return {
            "Width": now.width,
            "Height": now.height,
            "PixelFormat": now.fourcc,
            "Field": now.field,
            "BytesPerLine": now.bytes_per_line,
            "SizeImage": now.size_image,
            "Colorspace": now.colorspace,
            "Quantization": now.quantization,
            "XferFunc": now.xfer_func,
            "YcbcrEnc": now.ycbcr_enc,
        }

    def _rates(self, fourcc: str) -> list[dict[str, Any]]:
        return [
            {
                "Width": width,
                "Height": height,
                "Rates": [rate_from(_fraction(*rate)) for rate in self._node.rates(fourcc, width, height)],
            }
            for width, height in self._node.sizes(fourcc)
        ]


def _fraction(numerator: int, denominator: int) -> Fraction:
    return Fraction(numerator, denominator) if denominator else Fraction(0)

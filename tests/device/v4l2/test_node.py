"""The ioctls of a V4L2 camera, answered by a made-up driver that fills structs as videodev2.h lays them out."""

import struct
from pathlib import Path

import pytest
from device_camera.v4l2.node import Node, open_node
from edgex_kit.wire.errors import DriverFailed, Invalid, Unavailable

YUYV, MJPG = 0x56595559, 0x47504A4D
SIZES = {MJPG: [(1280, 720), (640, 480)], YUYV: [(640, 480)]}
FORMATS = [(MJPG, b"Motion-JPEG"), (YUYV, b"YUYV 4:2:2")]


class Driver:
    """A camera with two formats and a brightness."""

    def __init__(self) -> None:
        self.brightness = 128

    def __call__(self, code: int, buffer: bytearray) -> None:
        name = {
            0x80685600: "querycap",
            0xC0405602: "enum_fmt",
            0xC02C564A: "enum_framesizes",
            0xC034564B: "enum_frameintervals",
            0xC0D05604: "g_fmt",
            0xC0CC5615: "g_parm",
            0x80045626: "g_input",
            0xC050561A: "enuminput",
            0xC0445624: "queryctrl",
            0xC008561B: "g_ctrl",
            0xC008561C: "s_ctrl",
        }[code]
        assert len(buffer) == (code >> 16) & 0x3FFF, "the size is part of the code"
        getattr(self, name)(buffer)

    def querycap(self, buffer: bytearray) -> None:
        texts = (b"uvcvideo", b"HD Pro Webcam C920", b"usb-0000:00:14.0-2")
        struct.pack_into("16s32s32sIII", buffer, 0, *texts, (6 << 16) | (1 << 8) | 12, 0x84A00001, 0x04200001)

    def enum_fmt(self, buffer: bytearray) -> None:
        index, kind = struct.unpack_from("II", buffer)
        assert kind == 1
        self._end(index, len(FORMATS))
        code, words = FORMATS[index]
        struct.pack_into("I32sI", buffer, 8, 0, words, code)

    def enum_framesizes(self, buffer: bytearray) -> None:
        index, code = struct.unpack_from("II", buffer)
        self._end(index, len(SIZES[code]))
        struct.pack_into("III", buffer, 8, 1, *SIZES[code][index])

    def enum_frameintervals(self, buffer: bytearray) -> None:
        index = struct.unpack_from("I", buffer)[0]
        self._end(index, 2)
        struct.pack_into("III", buffer, 16, 1, *((1, 30), (2, 15))[index])

    def g_fmt(self, buffer: bytearray) -> None:
        struct.pack_into("12I", buffer, 8, 640, 480, MJPG, 1, 0, 614400, 7, 0, 0, 2, 1, 3)

    def g_parm(self, buffer: bytearray) -> None:
        struct.pack_into("IIII", buffer, 4, 0x1000, 0, 1, 30)

    def g_input(self, buffer: bytearray) -> None:
        struct.pack_into("I", buffer, 0, 0)

    def enuminput(self, buffer: bytearray) -> None:
        struct.pack_into("I", buffer, 56, 2)

    def queryctrl(self, buffer: bytearray) -> None:
        if struct.unpack_from("I", buffer)[0] != 0x00980900:
            raise OSError(22, "Invalid argument")
        struct.pack_into("iiii", buffer, 40, 0, 255, 1, 128)

    def g_ctrl(self, buffer: bytearray) -> None:
        struct.pack_into("i", buffer, 4, self.brightness)

    def s_ctrl(self, buffer: bytearray) -> None:
        self.brightness = struct.unpack_from("i", buffer, 4)[0]

    @staticmethod
    def _end(index: int, length: int) -> None:
        if index >= length:
            raise OSError(22, "Invalid argument")


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def node(driver: Driver) -> Node:
    return Node("/dev/video0", driver)


def test_a_camera_says_who_it_is(node: Node) -> None:
    assert node.info() == {
        "Driver": "uvcvideo",
        "Card": "HD Pro Webcam C920",
        "BusInfo": "usb-0000:00:14.0-2",
        "Version": "6.1.12",
        "DriverCaps": 0x84A00001,
        "DeviceCaps": 0x04200001,
    }


def test_formats_sizes_and_rates_are_listed(node: Node) -> None:
    formats = node.image_formats()["ImageFormats"]
    assert [(one["PixelFormat"], one["Description"]) for one in formats] == [
        ("MJPG", "Motion-JPEG"),
        ("YUYV", "YUYV 4:2:2"),
    ]
    assert formats[0]["FrameSizes"] == [{"Width": 1280, "Height": 720}, {"Width": 640, "Height": 480}]
    rates = node.frame_rate_formats()["FrameRateFormats"][1]["FrameRates"]
    assert rates == [
        {
            "Width": 640,
            "Height": 480,
            "Rates": [{"Numerator": 30, "Denominator": 1}, {"Numerator": 15, "Denominator": 2}],
        }
    ]


def test_the_format_in_force_is_described(node: Node) -> None:
    found = node.data_format()
    assert (found["Width"], found["Height"], found["PixelFormat"]) == (640, 480, "MJPG")
    assert (found["PixelFormatDescription"], found["SizeImage"], found["Colorspace"]) == ("Motion-JPEG", 614400, 7)
    assert (found["YcbcrEnc"], found["Quantization"], found["XferFunc"]) == (2, 1, 3)
    assert found["FrameRates"] == [{"Numerator": 30, "Denominator": 1}]


def test_the_status_is_counted_as_device_usb_camera_counts(node: Node) -> None:
    assert node.status() == 2


def test_a_control_is_set_within_its_range(node: Node, driver: Driver) -> None:
    node.set_control("Brightness", 200)
    assert (driver.brightness, node.control("Brightness")) == (200, 200)
    with pytest.raises(Invalid, match="Brightness from 0 to 255 expected, got 256"):
        node.set_control("Brightness", 256)


def test_a_control_the_camera_does_not_have_is_named(node: Node) -> None:
    with pytest.raises(Invalid, match="Zoom"):
        node.control("Zoom")


def test_a_range_of_sizes_is_told_by_its_ends() -> None:
    def stepwise(_code: int, buffer: bytearray) -> None:
        struct.pack_into("7I", buffer, 8, 3, 32, 1920, 2, 24, 1080, 2)

    assert list(Node("x", stepwise).sizes("YUYV")) == [(32, 24), (1920, 1080)]


def test_a_driver_without_an_end_is_cut_off() -> None:
    def endless(_code: int, buffer: bytearray) -> None:
        struct.pack_into("I32sI", buffer, 8, 0, b"x", MJPG)

    assert len(list(Node("x", endless)._formats())) == 256


def test_a_driver_that_does_not_answer_is_named() -> None:
    def dead(_code: int, _buffer: bytearray) -> None:
        raise OSError(19, "No such device")

    with pytest.raises(DriverFailed, match="/dev/video9: no such device"):
        Node("/dev/video9", dead).info()


@pytest.mark.fault(33)
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "plain", "none"])
def test_what_is_no_camera_is_not_opened(path: str, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(Unavailable), open_node(str(tmp_path / path)):  # an absolute path stays as it is
        pass

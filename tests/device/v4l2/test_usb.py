"""Cameras attached to this machine, on made-up /sys and /dev."""

from pathlib import Path

import pytest
from device_camera.v4l2.usb import find_usb_cameras


class Machine:
    """Made-up /sys and /dev."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev = root / "sys", root / "dev"
        self.dev.mkdir()

    def plug_in(self, number: int, port: str, card: str, serial: str = "", index: str = "0") -> None:
        usb = self.sysfs / "devices/pci0000:00/0000:00:14.0/usb1" / port
        node = usb / f"{port}:1.0/video4linux/video{number}"
        node.mkdir(parents=True)
        if serial:
            (usb / "serial").write_text(f"{serial}\n")
        (node / "name").write_text(f"{card}\n")
        (node / "index").write_text(f"{index}\n")
        (node / "device").symlink_to(node.parent.parent)
        listed = self.sysfs / "class/video4linux"
        listed.mkdir(parents=True, exist_ok=True)
        (listed / f"video{number}").symlink_to(node)
        (self.dev / f"video{number}").touch()

    def link(self, kind: str, name: str, number: int) -> Path:
        folder = self.dev / "v4l" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(f"../../video{number}")
        return folder / name


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_cameras_has_none(machine: Machine) -> None:
    assert find_usb_cameras(machine.sysfs, machine.dev) == []


def test_a_camera_is_known_by_its_serial_number(machine: Machine) -> None:
    machine.plug_in(0, "1-2", "HD Pro Webcam C920", "5F1A7B2C")
    link = machine.link("by-id", "usb-046d_C920_5F1A7B2C-video-index0", 0)
    (found,) = find_usb_cameras(machine.sysfs, machine.dev)
    assert (found.name, found.identity) == ("HD-Pro-Webcam-C920-5F1A7B2C", "5F1A7B2C")
    assert found.protocols == {
        "Camera": {
            "Source": f"v4l2:{link}",
            "CardName": "HD Pro Webcam C920",
            "Port": "pci-0000:00:14.0-1-2:1.0",
            "SerialNumber": "5F1A7B2C",
        }
    }


def test_nodes_for_metadata_are_no_cameras(machine: Machine) -> None:
    machine.plug_in(0, "1-2", "Cam")
    machine.plug_in(1, "1-3", "Cam", index="1")
    assert [found.node for found in find_usb_cameras(machine.sysfs, machine.dev)] == [str(machine.dev / "video0")]


def test_two_cameras_of_one_serial_number_are_both_found_by_where_they_are(machine: Machine) -> None:
    for number, port in ((0, "1-1"), (2, "1-4.3")):
        machine.plug_in(number, port, "C270", "200901010001")
        machine.link("by-path", f"pci-0000:00:14.0-usb-0:{port}:1.0-video-index0", number)
    machine.link("by-id", "usb-046d_C270_200901010001-video-index0", 2)  # udev lets the last one win
    first, second = find_usb_cameras(machine.sysfs, machine.dev)
    assert (first.serial, second.serial) == ("", "")
    assert first.name == "C270-pci-0000-00-14-0-1-1-1-0"
    assert len({first.name, second.name}) == len({first.stable_node, second.stable_node}) == 2
    assert second.stable_node.endswith("by-path/pci-0000:00:14.0-usb-0:1-4.3:1.0-video-index0")


def test_the_identity_does_not_follow_the_number_of_the_node(machine: Machine, tmp_path: Path) -> None:
    machine.plug_in(0, "1-1", "Cam")
    (tmp_path / "again").mkdir()
    again = Machine(tmp_path / "again")
    again.plug_in(5, "1-1", "Cam")
    (before,), (after,) = (find_usb_cameras(one.sysfs, one.dev) for one in (machine, again))
    assert before.node != after.node
    assert (before.name, before.identity) == (after.name, after.identity)


def test_without_udev_the_node_itself_is_the_source(machine: Machine) -> None:
    machine.plug_in(3, "1-1", "Cam", "S1")
    (found,) = find_usb_cameras(machine.sysfs, machine.dev)
    assert found.stable_node == found.node == str(machine.dev / "video3")


def test_nodes_come_in_the_order_of_their_numbers(machine: Machine) -> None:
    for number in (10, 2, 0):
        machine.plug_in(number, f"1-{number}", "Cam")
    names = [Path(found.node).name for found in find_usb_cameras(machine.sysfs, machine.dev)]
    assert names == ["video0", "video2", "video10"]


def test_cameras_of_one_piece_of_hardware_have_places_and_names_of_their_own(machine: Machine) -> None:
    for number in (0, 1, 2):
        machine.plug_in(number, "1-1", "Grabber")
    found = find_usb_cameras(machine.sysfs, machine.dev)
    place = "pci-0000:00:14.0-1-1:1.0"
    assert [it.identity for it in found] == [place, f"{place}#1", f"{place}#2"]
    assert len({it.name for it in found}) == 3

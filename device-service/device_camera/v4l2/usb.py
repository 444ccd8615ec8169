"""V4L2 cameras attached to this machine by /sys and /dev, each with an identity that survives a re-plug.

A serial number is an identity only while no second camera has it (many models give every piece the same); then the
place where it is plugged in is. /dev/videoN is none: the number follows the order of plugging in. Cameras of one piece
of hardware, such as inputs of a capture card, share their place; the second is known as its #1, the third as its #2.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ODD = re.compile(r"[^A-Za-z0-9]+")
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$")


@dataclass(frozen=True, slots=True)
class UsbCamera:
    """One capture node of one camera."""

    node: str  # /dev/video0
    card: str
    port: str  # where it is plugged in: pci-0000:00:14.0-1-2:1.0
    serial: str  # empty when it has none, or when it is not the only one with it
    stable_node: str  # a /dev/v4l link that stays with the camera; the node where there are no such links

    @property
    def identity(self) -> str:
        """What makes it this camera and no other."""
        return self.serial or self.port

    @property
    def name(self) -> str:
        """A device name: card and identity, without odd characters."""
        return _ODD.sub("-", f"{self.card} {self.identity}").strip("-")

    @property
    def protocols(self) -> dict[str, dict[str, Any]]:
        """As the device that discovery makes of it."""
        found = {"Source": f"v4l2:{self.stable_node}", "CardName": self.card, "Port": self.port}
        return {"Camera": {**found, "SerialNumber": self.serial} if self.serial else found}


def find_usb_cameras(sysfs: Path, dev: Path) -> list[UsbCamera]:
    """All capture nodes below `sysfs` (/sys) with their nodes below `dev` (/dev), in the order of their numbers."""
    nodes = sorted((sysfs / "class/video4linux").glob("video*"), key=lambda node: (len(node.name), node.name))
    cameras = [node for node in nodes if _read(node / "index") in ("0", "")]  # the others carry metadata
    serials = Counter(_serial(node) for node in cameras)
    ports = _own_ports(cameras)
    return [_camera(node, dev, ports[node], is_unique=serials[_serial(node)] == 1) for node in cameras]


def _own_ports(cameras: list[Path]) -> dict[Path, str]:
    """The port of each camera, numbered where several share it."""
    taken: Counter[str] = Counter()
    own = {}
    for node in cameras:
        port = _port(node)
        own[node] = f"{port}#{taken[port]}" if taken[port] else port
        taken[port] += 1
    return own


def _camera(node: Path, dev: Path, port: str, *, is_unique: bool) -> UsbCamera:
    serial = _serial(node) if is_unique else ""
    links = list(_links(dev / "v4l" / ("by-id" if serial else "by-path"), node.name))
    own = str(dev / node.name)
    return UsbCamera(own, _read(node / "name") or node.name, port, serial, str(links[0]) if links else own)


def _links(folder: Path, node: str) -> Iterator[Path]:
    """Links of udev to the node; by-id links of cameras with the same serial overwrite each other, so only by-path."""
    for link in sorted(folder.iterdir()) if folder.is_dir() else ():
        if link.resolve().name == node:
            yield link


def _serial(node: Path) -> str:
    return _read((node / "device").resolve().parent / "serial")


def _port(node: Path) -> str:
    """The USB interface and its host controller: neither changes while the plug stays where it is."""
    interface = (node / "device").resolve()
    controller = next((parent.name for parent in interface.parents if _PCI.match(parent.name)), "")
    return f"pci-{controller}-{interface.name}" if controller else interface.name


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""

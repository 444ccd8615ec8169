"""What runs inside the guest of test_guest_cameras.py: device-camera and an EdgeX core, with real /dev/video* nodes.

Usage: guest_cameras.py FOLDER MODULE..., the last of the modules, in FOLDER, being the driver. Writes one JSON line.
"""

import contextlib
import fcntl
import json
import os
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from device_camera.frame import Encoding
from device_camera.sources.base import SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.timing import ThreadClock
from device_camera.v4l2.node import open_node
from device_camera.v4l2.usb import find_usb_cameras
from edgex_kit.wire.errors import Unavailable

T = TypeVar("T")

_S_CTRL = 0xC008561C  # VIDIOC_S_CTRL: id, value
_DISCONNECT = 0x00F0F041  # vivid's button that pulls the plug
_OPTIONS = ("n_devs=2", "node_types=0x1,0x1")  # two cameras that capture, and nothing else
_MOST = 200  # pictures until an unplugged camera must have been noticed
_ATTEMPTS = 20  # to unload the driver after each disconnection
_FRAMES = 5  # more of a device, to say that it streams
_WAIT = 90.0  # seconds for anything of the services, on an emulated processor
_METADATA, _CAMERA = "http://127.0.0.1:59881/api/v3", "http://127.0.0.1:59985/api/v3"
_SETTINGS = {"EDGEX_SECURITY_SECRET_STORE": "false", "DEVICE_DISCOVERY_ENABLED": "true", "PYTHONUNBUFFERED": "1"}
SMALL = SourceOptions(encoding=Encoding(size=(640, 360)))


def plug(folder: Path, modules: list[str]) -> None:
    """Load the driver and what it needs; what is loaded already is refused, which does not matter."""
    for module in modules:
        options = _OPTIONS if module == modules[-1] else ()
        subprocess.run(["busybox", "insmod", str(folder / module), *options], check=False, stderr=subprocess.DEVNULL)


def unplug(driver: str) -> bool:
    """Unload the driver. False while a camera is open."""
    return subprocess.run(["busybox", "rmmod", driver], check=False, stderr=subprocess.DEVNULL).returncode == 0


def disconnect(node: str) -> None:
    """Disconnect the camera at a node, also while it streams."""
    with Path(node).open("rb") as file:
        fcntl.ioctl(file, _S_CTRL, struct.pack("Ii", _DISCONNECT, 1))


def pull(nodes: list[str], driver: str) -> None:
    """Unload the driver while cameras stream.

    vivid holds a camera disconnected only until its last user has closed it, and a service opens it again soon: the
    driver goes in between, or at the next attempt.
    """

    def is_gone() -> bool:
        for node in nodes:
            with contextlib.suppress(OSError):
                disconnect(node)
        return any(unplug(driver) for _ in range(_ATTEMPTS))

    until(is_gone, "a driver that nobody uses")


def cameras() -> list[dict[str, Any]]:
    found = find_usb_cameras(Path("/sys"), Path("/dev"))
    return [{"node": it.node, "name": it.name, "port": it.port} for it in found]


def stream(node: str, pictures: int) -> dict[str, Any]:
    with open_source(parse_source(f"v4l2:{node}"), SMALL, ThreadClock()) as source:
        taken = [source.retrieve() for _ in range(pictures) if source.grab()]
        return {"size": source.size, "is_jpeg": source.is_jpeg, "pictures": len({bytes(it) for it in taken})}


def unplugged_while_streaming(node: str) -> str:
    """The error of the source when its camera is gone."""
    try:
        with open_source(parse_source(f"v4l2:{node}"), SMALL, ThreadClock()) as source:
            source.grab()
            disconnect(node)
            for _ in range(_MOST):
                source.grab()
    except Unavailable as error:
        return str(error)
    return ""


def ask(url: str, body: Any = None, method: str = "GET") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=_WAIT) as answer:
        return json.loads(answer.read() or b"null")


def until(look: Callable[[], T], what: str) -> T:
    """The first true answer; a service that does not answer yet counts as false."""
    end = time.monotonic() + _WAIT
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := look():
                return found
        time.sleep(0.3)
    raise TimeoutError(f"{what} expected within {_WAIT:.0f} s")


@contextlib.contextmanager
def services() -> Iterator[None]:
    """An EdgeX core and device-camera on their own ports; their logs go to the console of the guest."""
    with contextlib.ExitStack() as stack:
        for module, *arguments in (
            ("edgex_standin", "--state", ":memory:"),
            ("device_camera", "-cp=keeper.http://localhost:59890", "-r"),
        ):
            child = subprocess.Popen([sys.executable, "-m", module, *arguments], env={**os.environ, **_SETTINGS})
            stack.callback(child.wait)
            stack.callback(child.terminate)
            place = _METADATA if module == "edgex_standin" else _CAMERA
            until(partial(ask, f"{place}/ping"), f"an answer of {module}")
        yield


def states() -> dict[str, str]:
    """The operating state of every device that core-metadata knows."""
    return {it["name"]: it["operatingState"] for it in ask(f"{_METADATA}/device/all")["devices"]}


def discovered(state: str, count: int) -> dict[str, str]:
    """Discover until so many devices are known, all in one state."""

    def look() -> dict[str, str]:
        ask(f"{_CAMERA}/discovery", {}, "POST")
        now = states()
        return now if len(now) == count and set(now.values()) == {state} else {}

    return until(look, f"{count} devices that are {state}")


def value_of(device: str, resource: str) -> Any:
    (reading,) = ask(f"{_CAMERA}/device/name/{device}/{resource}")["event"]["readings"]
    return reading.get("value", reading.get("objectValue"))


def published(devices: Iterable[str]) -> dict[str, int]:
    """How many frames of each device have gone to the bus."""
    return {it: int(value_of(it, "FramesPublished")) for it in devices}


def streaming(devices: Iterable[str]) -> bool:
    """Whether every device comes to publish frames, and then more of them."""
    before = until(lambda: published(devices), "devices that are known to their service")
    return until(lambda: all(now >= before[it] + _FRAMES for it, now in published(devices).items()), "frames of all")


def tuned(device: str, node: str) -> dict[str, Any]:
    """The brightness that a command has set, as the device and as the kernel report it."""
    ask(f"{_CAMERA}/device/name/{device}/Brightness", {"Brightness": "77"}, "PUT")
    with open_node(node) as file:
        return {"device": int(value_of(device, "Brightness")), "node": file.control("Brightness")}


def served(cameras_now: list[dict[str, Any]], driver: str, again: Callable[[], None]) -> dict[str, Any]:
    """The life of the cameras as devices: found, tuned, unplugged while they stream, plugged in again."""
    report: dict[str, Any] = {}
    with services():
        report["devices"] = discovered("UP", len(cameras_now))
        report["streaming"] = streaming(report["devices"])
        report["brightness"] = tuned(cameras_now[0]["name"], cameras_now[0]["node"])
        pull([it["node"] for it in cameras_now], driver)
        report["cameras unplugged"] = cameras()
        report["devices unplugged"] = until(lambda: set(states().values()) == {"DOWN"} and states(), "all DOWN")
        again()
        report["devices again"] = discovered("UP", len(cameras_now))
        report["streaming again"] = streaming(report["devices again"])
    return report


def main(folder: Path, modules: list[str]) -> dict[str, Any]:
    subprocess.run(["busybox", "ifconfig", "lo", "127.0.0.1", "up"], check=True)
    driver = Path(modules[-1]).stem
    report: dict[str, Any] = {"before": cameras()}
    plug(folder, modules)
    report["plugged"] = cameras()
    nodes = [it["node"] for it in report["plugged"]]
    with open_node(nodes[0]) as node:
        formats = node.image_formats()["ImageFormats"]
        report["driver"], report["formats"] = node.info()["Driver"], [one["PixelFormat"] for one in formats]
    report["streams"] = [stream(node, 5) for node in nodes]
    report["lost"] = unplugged_while_streaming(nodes[0])
    unplug(driver)
    plug(folder, modules[-1:])
    report["served"] = served(report["plugged"], driver, lambda: plug(folder, modules[-1:]))
    report["again"] = cameras()
    return report


if __name__ == "__main__":
    sys.stdout.write(f"GUEST {json.dumps(main(Path(sys.argv[1]), sys.argv[2:]))}\n")
    sys.stdout.flush()

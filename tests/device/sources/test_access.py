"""Driver.AllowedHosts and Driver.AllowedPaths: what a device may name as its source, and what that leads to."""

from pathlib import Path

import pytest
from device_camera.config import CameraDefaults, CameraService
from device_camera.settings import check_device
from device_camera.sources.access import Access
from device_camera.sources.base import SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.timing import ThreadClock
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import Forbidden, Invalid, Unavailable

from tests.device.network_cameras import raw_camera

pytestmark = pytest.mark.fault(33)
OWN = ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"]
LINK_LOCAL = ["169.254.169.254", "fe80::1", "fe80::1%eth0"]


@pytest.mark.parametrize("host", OWN + LINK_LOCAL)
def test_services_of_this_machine_and_link_local_addresses_are_refused_by_default(host: str) -> None:
    access = CameraService().driver.access
    with pytest.raises(Forbidden):
        access.check_host(host)
    Access.parse(f"*, {host.rstrip('.').lower()}", "*").check_host(host)


@pytest.mark.parametrize("host", ["10.0.0.7", "192.168.1.9", "203.0.113.5", "gate.example", "2001:db8::1"])
def test_other_hosts_are_allowed_unless_others_are_listed(host: str) -> None:
    CameraService().driver.access.check_host(host)
    access = Access.parse("10.0.0.0/8, gate.example", "*")
    if host in ("10.0.0.7", "gate.example"):
        access.check_host(host)
    else:
        with pytest.raises(Forbidden):
            access.check_address(host, "203.0.113.5" if "example" in host else host)


def test_a_name_is_judged_by_its_address() -> None:
    with pytest.raises(Forbidden):
        Access.parse("*", "*").check_address("innocent.example", "127.0.0.1")


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/x", "rtsp://localhost/x", "/etc/passwd", "file:/etc/hosts"])
def test_a_device_with_a_forbidden_source_is_refused(source: str) -> None:
    device = Device(
        name="x",
        admin_state="UNLOCKED",
        operating_state="UP",
        service_name="s",
        protocols={"Camera": {"Source": source}},
    )
    with pytest.raises(Forbidden):
        check_device(device, CameraDefaults(), Access.parse("*", "./cameras"))


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid):
        Access.parse("10.0.0.0/99", "*")


@pytest.mark.parametrize("name", ["video.mp4", "pictures"])
def test_a_link_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "video.mp4").touch()
    (tmp_path / "cameras" / name).symlink_to(tmp_path / name)
    options = SourceOptions(access=Access.parse("*", str(tmp_path / "cameras")))
    spec = parse_source(str(tmp_path / "cameras" / name))
    with pytest.raises(Unavailable, match="AllowedPaths"), open_source(spec, options, ThreadClock()):
        pass


@pytest.mark.integration
def test_a_redirect_is_checked_again() -> None:
    with raw_camera(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:9/\r\n\r\n") as url:
        options = SourceOptions(access=Access.parse("127.0.0.1", "*"))
        with pytest.raises(Unavailable, match="AllowedHosts"), open_source(parse_source(url), options, ThreadClock()):
            pass

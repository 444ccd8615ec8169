"""Settings of device-camera and the file that ships with it."""

from pathlib import Path
from typing import Any

import device_camera
import pytest
import yaml
from device_camera.config import PORT, CameraDefaults, CameraService
from edgex_kit.config import layers as config
from edgex_kit.device.settings import DeviceSection
from edgex_kit.service.configuration import Layers, Live
from edgex_kit.wire.errors import Invalid

SHIPPED = Path(device_camera.__file__).parent / "res/configuration.yaml"


def shipped() -> Any:
    return yaml.safe_load(SHIPPED.read_text("utf-8"))


def test_the_shipped_file_says_the_same_as_the_defaults() -> None:
    """Otherwise a key that somebody leaves out would mean something else."""
    with_file, without = config.check(CameraService, ("file", shipped())), CameraService()
    assert with_file.device.label_list == without.device.label_list == ()
    assert with_file.writable.camera == without.writable.camera == CameraDefaults()
    assert (with_file.service.port, without.service.port) == (PORT, PORT)
    for name in ("data_transform", "max_cmd_ops", "allowed_fails", "device_down_timeout", "discovery"):
        assert getattr(with_file.device, name) == getattr(without.device, name)
    assert (with_file.driver, with_file.max_event_size) == (without.driver, without.max_event_size)


def test_every_key_of_a_camera_can_be_set_by_the_environment() -> None:
    tree = config.override(shipped(), {"WRITABLE_CAMERA_FPS": "2.5", "DEVICE_DISCOVERY_ENABLED": "true"})
    found = config.check(CameraService, ("file", tree))
    assert (found.writable.camera.fps, found.device.discovery.enabled) == (2.5, True)


def test_what_core_keeper_gives_is_text() -> None:
    tree = {"Device": {"MaxCmdOps": "3", "Discovery": {"Enabled": "true", "Interval": "1m"}}, "MaxEventSize": "20"}
    found = config.check(CameraService, ("core-keeper", tree))
    assert (found.device.max_cmd_ops, found.device.discovery.interval_s, found.max_event_size) == (3, 60.0, 20)


@pytest.mark.parametrize("labels", [["a", "b"], {"0": "a", "1": "b"}, "a, b", ("a", "b")])
def test_labels_come_in_every_way_configuration_has_lists(labels: Any) -> None:
    assert DeviceSection(labels=labels).label_list == ("a", "b")


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(Invalid, match=r"Writable\.Camera\.Quality"):
        config.check(CameraService, ("file", {"Writable": {"Camera": {"Quality": "best"}}}))


def test_a_command_waits_less_long_than_its_request() -> None:
    assert CameraService().patience_s == pytest.approx(4.5)


def test_cameras_need_the_message_bus() -> None:
    with pytest.raises(Invalid, match=r"MessageBus\.Disabled is true"):
        config.check(CameraService, ("file", {"MessageBus": {"Disabled": "true"}})).check()
    CameraService().check()


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("Fps", "-1"), ("Quality", "0"), ("Quality", "500"), ("Chroma", "9:9"), ("Size", "big")),
        *(("OpenTimeout", "soon"), ("ReadTimeout", ""), ("ReconnectFirst", "x"), ("MaxFrameAge", "1 hour")),
    ],
)
def test_a_default_that_no_camera_can_have_is_refused_with_its_key(key: str, value: str) -> None:
    with pytest.raises(Invalid, match=key):
        config.check(CameraService, ("core-keeper", {"Writable": {"Camera": {key: value}}}))


def with_lease(text: str) -> Layers:
    return Layers(private={"Writable": {"Camera": {"SizeLease": text}}}, origin="core-keeper")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("20s", "30s at the least expected, got '20s'"),
        ("29.9s", "30s at the least expected, got '29.9s'"),
        ("-1m", "30s at the least expected, got '-1m'"),
        ("0s", "30s at the least expected, got '0s'"),
        ("", "'' is no duration"),
        ("60", "'60' is no duration"),
    ],
)
def test_a_lease_that_ends_before_it_is_renewed_is_refused_and_the_old_one_stays(
    text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert [it.key for it in Live(CameraService, with_lease(text)).refused] == ["Writable.Camera.SizeLease"]
    live = Live(CameraService, with_lease("45s"))
    live.replace(with_lease(text))
    assert live.now.writable.camera.lease_s == 45
    assert why in caplog.text
    live.replace(with_lease("30s"))
    assert live.now.writable.camera.lease_s == 30

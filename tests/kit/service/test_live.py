"""The settings in force."""

import pytest
from edgex_kit.config.settings import Settings
from edgex_kit.service.live import Live
from edgex_kit.service.provider import Layers
from edgex_kit.wire.errors import Invalid


def layers(level: str = "INFO", port: str = "1", **private: object) -> Layers:
    return Layers(private={"Writable": {"LogLevel": level}, "Service": {"Port": port}, **private}, origin="core-keeper")


def test_new_layers_become_the_settings_and_everyone_is_told() -> None:
    live = Live(Settings, layers())
    told: list[str] = []
    live.on_change(lambda now: told.append(now.writable.log_level))
    live.replace(layers("DEBUG"))
    assert live.now.writable.log_level == "DEBUG"
    assert live.tree["Writable"] == {"LogLevel": "DEBUG"}
    assert told == ["DEBUG"]


def test_who_has_left_is_told_nothing() -> None:
    live, told = Live(Settings, layers()), list[Settings]()
    leave = live.on_change(told.append)
    live.replace(layers())
    leave()
    live.replace(layers())
    assert len(told) == 1


def test_layers_that_cannot_be_read_change_nothing_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    live = Live(Settings, layers())
    told: list[object] = []
    live.on_change(told.append)
    live.replace(layers("DEBUG", port="http"))
    assert live.now.writable.log_level == "INFO"
    assert live.tree["Service"] == {"Port": "1"}
    assert not told
    assert "Service.Port (from private configuration, core-keeper): Expected `int`" in caplog.text


def test_a_start_with_layers_that_cannot_be_read_fails() -> None:
    with pytest.raises(Invalid, match=r"Service\.Port"):
        Live(Settings, layers(port="http"))


def test_remote_hosts_are_in_force_and_shown_but_belong_to_no_layer() -> None:
    given = layers()
    live = Live(Settings, given, ("me", "edge", "0.0.0.0"))
    assert live.now.service.host == "me"
    assert live.now.message_bus.host == "edge"
    assert live.now.client("core-metadata", 59881).url == "http://edge:59881"
    assert live.tree["MessageBus"]["Host"] == "edge"
    assert given == layers()


def test_secrets_are_masked_in_what_is_shown_and_whole_in_the_settings() -> None:
    secret = {"SecretName": "cam", "SecretData": {"password": "hunter22"}}
    given = Layers(private={"Writable": {"InsecureSecrets": {"cam": secret}}})
    live = Live(Settings, given)
    assert live.now.writable.insecure_secrets["cam"].secret_data == {"password": "hunter22"}
    assert "hunter22" not in repr(live.tree)
    live.replace(given)
    assert live.now.writable.insecure_secrets["cam"].secret_data == {"password": "hunter22"}

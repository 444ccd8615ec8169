"""The sections every service has, and EdgeX's own defaults."""

import pytest
from edgex_kit.config import layers as config
from edgex_kit.config.settings import ServiceSection, Settings
from edgex_kit.wire.errors import Invalid


def test_the_defaults_are_edgex_own() -> None:
    settings = Settings()
    assert settings.service.timeout_s == 5.0
    assert settings.message_bus.base_topic_prefix == "edgex"
    assert (settings.message_bus.host, settings.message_bus.port) == ("localhost", 1883)
    assert settings.registry.port == 59890
    assert settings.writable.telemetry.interval == "30s"
    assert settings.max_event_size == 0


def test_a_service_listens_on_its_bind_address_or_else_its_host() -> None:
    assert ServiceSection(host="edgex-cam").bind_host == "edgex-cam"
    assert ServiceSection(host="edgex-cam", server_bind_addr="0.0.0.0").bind_host == "0.0.0.0"


def test_another_service_is_where_it_is_configured_or_on_its_own_port() -> None:
    tree = {"Clients": {"core-metadata": {"Host": "meta", "Port": "1", "Protocol": "https"}}}
    settings = config.check(Settings, ("file", tree))
    assert settings.client("core-metadata", 59881).url == "https://meta:1"
    assert settings.client("core-data", 59880).url == "http://localhost:59880"


@pytest.mark.parametrize(
    "tree",
    [
        {"Writable": {"Telemetry": {"Interval": "often"}}},
        {"Service": {"RequestTimeout": "5"}},
        {"Service": {"HealthCheckInterval": ""}},
    ],
)
def test_a_duration_that_is_none_is_refused_when_it_is_read(tree: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="no duration"):
        config.check(Settings, ("file", tree))

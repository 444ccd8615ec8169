"""Configuration: layers, environment, one checked value, and nothing secret in what is shown."""

from typing import Any

import pytest
from edgex_kit.config import layers as config
from edgex_kit.config.settings import Section, Settings
from edgex_kit.wire.errors import Invalid
from hypothesis import given
from hypothesis import strategies as st
from msgspec import field

KEYS = st.text(st.characters(whitelist_categories=["Lu", "Ll", "Nd"], whitelist_characters="-_"), min_size=1)
TREES = st.recursive(
    st.dictionaries(KEYS, st.text(), max_size=4),
    lambda inner: st.dictionaries(KEYS, inner | st.text(), max_size=4),
    max_leaves=12,
)


class Zone(Section, kw_only=True, frozen=True):
    corners: str = ""
    rate: float = 1.0


class Mine(Settings, kw_only=True, frozen=True):
    zones: dict[str, Zone] = field(default_factory=dict)
    limit: float | None = None
    hosts: tuple[str, ...] = ()
    camera: Zone = field(default_factory=Zone)


# -- layers


def test_private_wins_over_the_kinds_configuration_and_that_over_all_services() -> None:
    everyone = {"Service": {"Host": "all", "RequestTimeout": "1s", "MaxResultCount": 1}}
    kind = {"Service": {"Host": "kind", "RequestTimeout": "2s"}}
    private = {"Service": {"Host": "own"}}
    settings = config.check(Mine, ("all", everyone), ("kind", kind), ("private", private))
    service = settings.service
    assert (service.host, service.request_timeout, service.max_result_count) == ("own", "2s", 1)


@given(TREES, TREES)
def test_merging_leaves_its_inputs_alone_and_shares_nothing_with_them(one: Any, two: Any) -> None:
    before = repr((one, two))
    merged = config.merge(one, two)
    for path, _ in list(config.leaves(merged)):
        config.set_leaf(merged, path, "changed")
    assert repr((one, two)) == before


def test_a_map_replaces_a_scalar_and_a_scalar_a_map() -> None:
    assert config.merge({"A": 1}, {"A": {"B": 2}}) == {"A": {"B": 2}}
    assert config.merge({"A": {"B": 2}}, {"A": 1}) == {"A": 1}


@given(TREES)
def test_a_tree_comes_back_from_its_flat_keys(tree: Any) -> None:
    flat = {"/".join(("edgex/v4/cam", *path)): value for path, value in config.leaves(tree)}
    again = config.tree_from_keys({**flat, "edgex/v4/camera/X": "other"}, "edgex/v4/cam")
    assert dict(config.leaves(again)) == dict(config.leaves(tree))


def test_lists_become_numbered_keys_and_empty_maps_vanish() -> None:
    assert dict(config.leaves({"L": ["a", "b"], "M": {}, "N": None, "B": True})) == {
        ("L", "0"): "a",
        ("L", "1"): "b",
        ("B",): True,
    }


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (5, "5"), (5.0, "5"), (0.25, "0.25"), ("x", "x")]
)
def test_scalars_are_stored_as_go_stores_them(value: Any, text: str) -> None:
    assert config.text_of(value) == text


# -- environment


def test_the_environment_overrides_keys_that_are_there_and_keeps_their_type() -> None:
    tree = {
        "Service": {"Host": "a", "Port": 1, "Open": False},
        "Clients": {"core-metadata": {"Host": "a"}},
        "Rate": 1.5,
        "Labels": ["a"],
        "Empty": None,
    }
    environ = {
        "SERVICE_HOST": "b",
        "SERVICE_PORT": " 2 ",
        "SERVICE_OPEN": "true",
        "CLIENTS_CORE_METADATA_HOST": "b",
        "RATE": "2",
        "LABELS": "x, y,",
        "EMPTY": "z",
        "SERVICE_NEW": "not there",
    }
    assert config.override(tree, environ) == {
        "Service": {"Host": "b", "Port": "2", "Open": "true"},
        "Clients": {"core-metadata": {"Host": "b"}},
        "Rate": "2",
        "Labels": ["x", "y"],
        "Empty": "z",
    }
    assert tree["Service"] == {"Host": "a", "Port": 1, "Open": False}


@pytest.mark.fault(27)
def test_the_environment_overrides_any_key_of_the_merged_configuration() -> None:
    common = {"MessageBus": {"Optional": {"Qos": "0"}}}
    tree = {"Zones": {"dock-1": {"Corners": "a"}}}
    environ = {
        "MESSAGEBUS_PORT": "1884",
        "MESSAGEBUS_OPTIONAL_QOS": "1",
        "ZONES_DOCK_1_RATE": "2",
        "SERVICE_CORSCONFIGURATION_ENABLECORS": "true",
        "HOSTS": "a, b",
        "LIMIT": "3",
        "CLIENTS_CORE_METADATA_HOST": "of no layer",
    }
    changed = config.override(tree, environ, Mine, common)
    assert changed == {
        "Zones": {"dock-1": {"Corners": "a", "Rate": "2"}},
        "MessageBus": {"Port": "1884", "Optional": {"Qos": "1"}},
        "Service": {"CORSConfiguration": {"EnableCORS": "true"}},
        "Hosts": ["a", "b"],
        "Limit": "3",
    }
    assert config.check(Mine, ("common", common), ("file", changed)).message_bus.port == 1884


@pytest.mark.fault(27)
def test_variables_that_are_no_keys_are_named_with_the_nearest() -> None:
    tree = {"Zones": {"dock": {"Corners": "a"}}}
    environ = {
        "ZONES_DOCK_RTAE": "1",
        "SERVICE_PROT": "1",
        "SERVICE_PORT": "1",
        "PATH": "x",
        "MESSAGEBUS_QQQQQQQQ": "1",
    }
    assert list(config.unknown_variables(environ, Mine, tree)) == [
        ("ZONES_DOCK_RTAE", "ZONES_DOCK_RATE"),
        ("SERVICE_PROT", "SERVICE_PORT"),
        ("MESSAGEBUS_QQQQQQQQ", ""),
    ]


@pytest.mark.fault(27)
def test_keys_that_are_none_are_named_with_the_nearest() -> None:
    tree = {
        "Zones": {"dock": {"rate": "1", "Corner": "a"}},
        "Serviec": {"Port": 1},
        "MessageBus": {"Optional": {"A": 1}},
    }
    assert {".".join(path): nearest for path, nearest in config.unknown_keys(Mine, tree)} == {
        "Zones.dock.rate": "Rate",
        "Zones.dock.Corner": "Corners",
        "Serviec": "Service",
    }


# -- one checked value


def test_text_from_core_keeper_means_the_same_as_typed_yaml() -> None:
    typed = {"Service": {"Port": 59985, "EnableNameFieldEscape": True}, "Limit": 0.5, "Camera": {"Rate": 5}}
    texts = {"Service": {"Port": "59985", "EnableNameFieldEscape": "true"}, "Limit": "0.5", "Camera": {"Rate": "5"}}
    assert config.check(Mine, ("file", typed)) == config.check(Mine, ("keeper", texts))


def test_numbers_in_yaml_may_stand_where_text_is_wanted() -> None:
    settings = config.check(Mine, ("file", {"MessageBus": {"Optional": {"Qos": 1, "Retained": False}}, "Hosts": [1]}))
    assert settings.message_bus.optional == {"Qos": "1", "Retained": "false"}
    assert settings.hosts == ("1",)


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        (
            (("defaults", {"Service": {"Port": 1}}), ("the file", {"Service": {"Port": "http"}})),
            r"Service\.Port \(from the file\): 'http' is refused, expected a whole number",
        ),
        (
            (("the file", {"Service": {"RequestTimeout": "5 seconds"}}),),
            r"Service\.RequestTimeout \(from the file\): '5 seconds' is no duration",
        ),
        (
            (("keeper", {"Zones": {"a": {"Rate": "1"}, "dock": {"Rate": "fast"}}}),),
            r"Zones\.dock\.Rate \(from keeper\): 'fast' is refused, expected a number",
        ),
        (
            (("keeper", {"Writable": {"Telemetry": {"Metrics": {"A": "true", "B": "maybe"}}}}),),
            r"Writable\.Telemetry\.Metrics\.B \(from keeper\): 'maybe' is refused, expected true or false",
        ),
        ((("keeper", {"Service": "text"}),), r"Service \(from keeper\): 'text' is refused, expected a section of keys"),
        ((("keeper", {"Hosts": "text"}),), r"Hosts \(from keeper\): 'text' is refused, expected a list"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_and_its_layer(layers: Any, named: str) -> None:
    with pytest.raises(Invalid, match=f"configuration key {named}"):
        config.check(Mine, *layers)


@pytest.mark.fault(6)
def test_wrong_keys_are_refused_one_by_one_and_the_others_apply() -> None:
    keeper = {
        "Zones": {"a": {"Rate": "2"}, "dock": {"Rate": "fast", "Corners": "x"}},
        "Writable": {"LogLevel": "DEBUG", "Telemetry": {"Interval": "often"}},
        "Limit": "much",
    }
    in_force = {"Zones": {"dock": {"Rate": "7"}}, "Limit": "less"}
    settings, refused = config.accept(Mine, ("file", {"Limit": 1}), ("keeper", keeper), in_force=in_force)
    assert (settings.zones["a"].rate, settings.zones["dock"].corners) == (2, "x")
    assert settings.zones["dock"].rate == 7, "the value in force stays"
    assert settings.limit == 1, "a value in force that is wrong, too, leaves the weaker layer's"
    assert settings.writable.telemetry.interval == "30s", "the default, where there is no other"
    assert settings.writable.log_level == "DEBUG"
    assert {(it.key, it.layer) for it in refused} == {
        ("Zones.dock.Rate", "keeper"),
        ("Writable.Telemetry.Interval", "keeper"),
        ("Limit", "keeper"),
    }


@pytest.mark.fault(6)
@given(
    st.dictionaries(st.sampled_from(["Zones", "Service", "Writable", "Limit", "Hosts", "Camera"]), TREES | st.text())
)
def test_any_configuration_gives_settings(tree: Any) -> None:
    settings, _ = config.accept(Mine, ("keeper", tree))
    assert isinstance(settings, Mine)


@pytest.mark.fault(30)
def test_a_refused_secret_is_not_quoted() -> None:
    tree = {"MessageBus": {"Optional": {"Password": {"a": "hunter22"}}}}
    _, [refused] = config.accept(Mine, ("keeper", tree))
    assert refused.key.startswith("MessageBus.Optional.Password")
    assert "hunter22" not in str(refused)


# -- what may be shown


def test_secrets_are_masked_in_what_is_shown_and_stay_in_the_tree() -> None:
    tree = {
        "Writable": {"InsecureSecrets": {"DB": {"SecretName": "postgres", "SecretData": {"username": "u", "x": ""}}}},
        "MessageBus": {"Optional": {"Password": "hunter22", "KeyPEMBlock": "-----BEGIN", "ClientId": "cam"}},
        "Driver": {"Url": "rtsp://admin:hunter22@cam/1", "Port": 5},
    }
    shown = config.hidden(tree)
    assert "hunter22" not in repr(shown)
    assert shown["Writable"]["InsecureSecrets"]["DB"] == {
        "SecretName": "postgres",
        "SecretData": {"username": "***", "x": ""},
    }
    assert shown["MessageBus"]["Optional"] == {"Password": "***", "KeyPEMBlock": "***", "ClientId": "cam"}
    assert shown["Driver"] == {"Url": "rtsp://***@cam/1", "Port": 5}
    assert tree["Writable"]["InsecureSecrets"]["DB"]["SecretData"]["username"] == "u"  # type: ignore[index]

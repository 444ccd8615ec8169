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
        "Service": {"Host": "b", "Port": 2, "Open": True},
        "Clients": {"core-metadata": {"Host": "b"}},
        "Rate": 2.0,
        "Labels": ["x", "y"],
        "Empty": "z",
    }
    assert tree["Service"] == {"Host": "a", "Port": 1, "Open": False}


def test_a_variable_of_the_wrong_type_is_named() -> None:
    with pytest.raises(Invalid, match="SERVICE_PORT='http'"):
        config.override({"Service": {"Port": 1}}, {"SERVICE_PORT": "http"})


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
            r"Service\.Port \(from the file\): Expected `int`",
        ),
        (
            (("the file", {"Service": {"RequestTimeout": "5 seconds"}}),),
            r"Service \(from the file\): '5 seconds' is no duration",
        ),
        (
            (("keeper", {"Zones": {"a": {"Rate": "1"}, "dock": {"Rate": "fast"}}}),),
            r"Zones\.dock\.Rate \(from keeper\): Expected `float`",
        ),
        (
            (("keeper", {"Writable": {"Telemetry": {"Metrics": {"A": "true", "B": "maybe"}}}}),),
            r"Writable\.Telemetry\.Metrics\.B \(from keeper\): Expected `bool`",
        ),
        ((("keeper", {"Service": "text"}),), r"Service \(from keeper\): Expected `object`"),
        ((("keeper", {"Hosts": "text"}),), r"Hosts \(from keeper\): Expected `array`"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_and_its_layer(layers: Any, named: str) -> None:
    with pytest.raises(Invalid, match=f"configuration key {named}"):
        config.check(Mine, *layers)


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

"""Requests as Go structs, and uploaded files."""

import pytest
import requests
from edgex_kit.wire.errors import Invalid
from edgex_standin.batches import file_of
from edgex_standin.shapes import UNREADABLE, Field, ListOf, MapOf, Shape

ITEM = Shape("Item", (Field("Name", "string", "required,edgex-dto-none-empty-string", "always"), Field("Size", "int")))
THING = Shape(
    "Thing",
    (
        Field("Embedded.ApiVersion", "string", "required"),
        Field("Id", "string", "omitempty,uuid"),
        Field("State", "string", "oneof='ON' 'OFF'", "always"),
        Field("Is", "bool", "", "always"),
        Field("Items", ListOf(ITEM)),
        Field("Map", MapOf("string", "required"), "", "always"),
        Field("Maximum", "float", "", "given"),
        Field("Interval", "string", "omitempty,edgex-dto-duration=1ms"),
        Field("Free", "any"),
    ),
)
TOO_SHORT = (
    "Thing.Interval field should follows the ISO 8601 Durations format, e.g.,100ms, 24h, "
    "or be greater than or equal to the minimum value 1ms "
)
GOOD = {"apiVersion": "v3", "state": "ON"}


def broken(**fields: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        THING.take(GOOD | fields)
    return str(caught.value).split("; ")


def test_what_is_empty_is_written_only_where_go_writes_it() -> None:
    assert THING.take(GOOD | {"items": [], "free": None}) == {
        "apiVersion": "v3", "state": "ON", "is": False, "map": None,
    }  # fmt: skip
    assert THING.take(GOOD | {"maximum": 0})["maximum"] == 0  # a pointer knows 0 from nothing


def test_keys_are_found_in_any_case_and_unknown_ones_forgotten() -> None:
    assert THING.take({"APIVERSION": "v3", "sTate": "OFF", "color": 1})["state"] == "OFF"
    exact = Shape("Exact", (Field("Name", "string"),), exact=True)
    assert exact.take({"NAME": "x"}) == {}


def test_every_broken_rule_is_named_in_order_with_its_path() -> None:
    assert broken(apiVersion="", state="on", items=[{"name": "a"}, {"name": " "}, {}]) == [
        "Thing.Embedded.ApiVersion field is required",
        "Thing.State field should be one of 'ON' 'OFF'",
        "Thing.Items[1].Name field should not be empty string",
        "Thing.Items[2].Name field is required",
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("id", "x", "Thing.Id field needs a uuid"),
        ("map", {"": "x"}, "Thing.Map[] field is required"),
        ("map", {"k": ""}, "Thing.Map[k] field is required"),
        ("interval", "soon", TOO_SHORT),
        ("interval", "1us", TOO_SHORT),
    ],
)
def test_a_broken_rule_has_the_words_of_go(field: str, value: object, said: str) -> None:
    assert broken(**{field: value}) == [said]


@pytest.mark.parametrize(
    "wrong",
    [{"state": 1}, {"is": "true"}, {"items": {}}, {"items": ["x"]}, {"map": []}, {"maximum": True}, {"id": None}],
)
def test_a_wrong_type_is_unreadable_and_null_is_nothing(wrong: dict[str, object]) -> None:
    if wrong == {"id": None}:
        assert "id" not in THING.take(GOOD | wrong)
    else:
        assert broken(**wrong) == [UNREADABLE]


def test_yaml_may_write_numbers_where_text_is_meant() -> None:
    taken = THING.take({"apiVersion": 3, "state": "ON", "map": {"a": True}}, lax=True)
    assert (taken["apiVersion"], taken["map"]) == ("3", {"a": "true"})


def test_an_update_that_empties_a_field_takes_it_away() -> None:
    assert THING.tidy({"id": "", "state": "", "items": [], "created": 5}) == {"state": "", "created": 5}


def test_a_number_no_integer_of_go_can_hold_is_unreadable() -> None:
    assert ITEM.take({"name": "a", "size": 2**63 - 1})["size"] == 2**63 - 1
    with pytest.raises(Invalid, match=UNREADABLE):
        ITEM.take({"name": "a", "size": 2**63})


YAML = 'name: "käse"\r\nlabels: [a,\tb]\n\n'.encode()


def uploaded(files: dict[str, tuple[str, bytes, str]]) -> tuple[str, bytes]:
    """As requests sends it."""
    prepared = requests.Request("POST", "http://h", files=files).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.headers["Content-Type"], prepared.body


def test_a_file_comes_out_as_it_went_in() -> None:
    kind, body = uploaded({"other": ("a.txt", b"x", "text/plain"), "file": ("p.yaml", YAML, "application/x-yaml")})
    assert file_of(kind, body, "file") == YAML


def test_a_field_that_is_not_there_is_none() -> None:
    kind, body = uploaded({"other": ("a.txt", b"x", "text/plain")})
    assert file_of(kind, body, "file") is None


@pytest.mark.parametrize("kind", ["application/json", "", "multipart/form-data"])
def test_another_kind_of_body_is_refused(kind: str) -> None:
    with pytest.raises(Invalid, match="a multipart/form-data body was expected"):
        file_of(kind, b"{}", "file")

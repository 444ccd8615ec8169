"""What a command's name means in a profile, and the values of a SET."""

import time
from typing import Any

import pytest
from edgex_kit.device.command_values import (
    Operation,
    Selection,
    select_to_read,
    select_to_write,
    writes_from_body,
)
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import DeviceProfile, DeviceResource
from edgex_kit.wire.errors import DriverFailed, Invalid, NotAllowed, NotFound

from tests.kit.device.conftest import profile_of, resource

PROFILE = convert(
    {
        "name": "p",
        "deviceResources": [
            resource("A", read_write="R"),
            resource("AB"),
            resource("W", read_write="W"),
            resource("Both", read_write="WR"),
        ],
        "deviceCommands": [
            {"name": "AB", "readWrite": "R", "resourceOperations": [{"deviceResource": "A"}], "tags": {"t": 1}},
            {"name": "OnlyW", "readWrite": "W", "resourceOperations": [{"deviceResource": "W"}]},
            {"name": "Set", "readWrite": "RW", "resourceOperations": [{"deviceResource": "Both", "defaultValue": "4"}]},
            {"name": "Lost", "readWrite": "RW", "resourceOperations": [{"deviceResource": "Gone"}]},
        ],
    },
    DeviceProfile,
)


def names(selection: Selection) -> list[str]:
    return [operation.resource.name for operation in selection.operations]


@pytest.mark.parametrize(
    ("source", "regex", "expected"),
    [("AB", True, ["A"]), (".*", True, ["A", "AB", "Both"]), ("A", False, ["A"])],
    ids=["a command comes first", "a regex reads all readable", "without regex a name is a name"],
)
def test_a_read_selects(source: str, *, regex: bool, expected: list[str]) -> None:
    selection = select_to_read(PROFILE, source, regex=regex, most=1)
    assert (names(selection), selection.source) == (expected, source)


@pytest.mark.parametrize(
    ("name", "regex", "error"),
    [
        ("X.*", True, NotFound),
        (".*", False, NotFound),
        ("W", True, NotAllowed),
        ("W", False, NotAllowed),
        ("OnlyW", True, NotAllowed),
        ("Lost", True, DriverFailed),
        ("[rotation", True, Invalid),
        ("(?:a)", True, Invalid),
        (r"\d", True, Invalid),
        ("a{1001}", True, Invalid),
        ("a" * 1001, True, Invalid),
    ],
)
def test_a_read_that_is_not_possible_is_refused(name: str, *, regex: bool, error: type[Exception]) -> None:
    with pytest.raises(error):
        select_to_read(PROFILE, name, regex=regex, most=9)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("Frame", "Frames", False),
        ("(a|b)*c", "ababc", True),
        ("a|ab", "ab", True),  # leftmost-longest
        ("x{,2}", "x{,2}", True),  # no repeat, so plain text
        ("x*?", "xx", True),  # not Perl's lazy repeat, but an optional one
        ("[[:alpha:]_]+", "Frame_", True),
        ("[[:^digit:]]+", "abc1", False),
        ("[]a]+", "]a", True),
        (r"a\.c", "abc", False),
        ("Größe", "Größe", True),
    ],
)
def test_a_pattern_is_posix_and_matches_the_whole_name(pattern: str, name: str, *, expected: bool) -> None:
    profile = profile_of(resource(name), resource("zzz"))
    try:
        found = names(select_to_read(profile, pattern, regex=True, most=9))
    except NotFound:
        found = []
    assert (name in found) is expected


@pytest.mark.parametrize("pattern", ["(a+)+b", "((a*)*)*b", "(a|a|aa)+b", "(" * 400 + "a" + "*)" * 400])
def test_no_pattern_keeps_the_service_busy(pattern: str) -> None:
    begin = time.monotonic()
    with pytest.raises((NotFound, Invalid)):
        select_to_read(profile_of(resource("a" * 60 + "c")), pattern, regex=True, most=9)
    assert time.monotonic() - begin < 1


def test_a_write_knows_whether_what_was_written_can_be_read() -> None:
    readable = {name: select_to_write(PROFILE, name, most=9).is_readable for name in ("W", "Both", "OnlyW")}
    assert readable == {"W": False, "Both": True, "OnlyW": False}
    assert select_to_write(PROFILE, "Set", most=9).operations[0].default == "4"


@pytest.mark.parametrize(
    ("name", "error"), [("A", NotAllowed), ("AB", NotAllowed), ("B.*", NotFound), ("Lost", DriverFailed)]
)
def test_a_write_is_exact_and_allowed_or_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        select_to_write(PROFILE, name, most=9)


def test_a_command_of_too_many_operations_is_refused() -> None:
    with pytest.raises(DriverFailed, match="MaxCmdOps"):
        select_to_read(PROFILE, "Set", regex=True, most=0)
    with pytest.raises(DriverFailed, match="MaxCmdOps"):
        select_to_write(PROFILE, "Set", most=0)


def selection(default: str = "", mappings: dict[str, str] | None = None, **properties: Any) -> Selection:
    described = {"name": "R", "properties": {"valueType": "Int32", "readWrite": "RW", **properties}}
    return Selection("R", (Operation(convert(described, DeviceResource), default, mappings),))


def written(given: Any, which: Selection, *, transform: bool = True) -> Any:
    (write,) = writes_from_body(which, given, transform=transform)
    return write.value


@pytest.mark.parametrize(
    ("given", "which", "expected"),
    [
        ({"R": 7, "unknown": 1}, selection(), 7),
        ({"R": "7"}, selection(), 7),
        ({"R": 7.0}, selection(), 7),
        ({"R": None}, selection(minimum=0), None),
        ({}, selection(default="1", defaultValue="2"), 1),
        ({}, selection(defaultValue="2"), 2),
        ({"R": 3}, selection(default="1", defaultValue="2"), 3),
        ({"R": "on"}, selection(mappings={"1": "on", "0": "off"}), 1),
        ({"R": 7}, selection(scale=2.0, offset=1.0), 3),
    ],
)
def test_a_value_is_the_given_one_or_a_default(given: Any, which: Selection, expected: Any) -> None:
    assert written(given, which) == expected


def test_scale_and_offset_are_undone_only_where_data_is_transformed() -> None:
    assert written({"R": 7}, selection(scale=2.0, offset=1.0), transform=False) == 7


def test_a_missing_value_without_a_default_is_the_drivers_failure() -> None:
    with pytest.raises(DriverFailed):
        written({}, selection())


@pytest.mark.parametrize("given", [11, -1, "x", "", 1.5, [1], {"a": 1}, True])
def test_a_value_that_does_not_fit_is_invalid_and_names_the_resource(given: Any) -> None:
    with pytest.raises(Invalid, match="DeviceResource R: "):
        written({"R": given}, selection(minimum=0, maximum=10))

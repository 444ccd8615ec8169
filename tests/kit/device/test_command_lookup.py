"""What a command's name means in a profile."""

import pytest
from edgex_kit.device.command_lookup import Selection, select_to_read, select_to_write
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import DeviceProfile
from edgex_kit.wire.errors import DriverFailed, Invalid, NotAllowed, NotFound


def resource(name: str, access: str) -> dict[str, object]:
    return {"name": name, "properties": {"valueType": "Int32", "readWrite": access}}


PROFILE = convert(
    {
        "name": "p",
        "deviceResources": [resource("A", "R"), resource("AB", "RW"), resource("W", "W"), resource("Both", "WR")],
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


def test_a_command_comes_before_a_resource_of_its_name() -> None:
    selection = select_to_read(PROFILE, "AB", regex=True, most=9)
    assert (names(selection), selection.source, selection.tags) == (["A"], "AB", {"t": 1})


def test_a_regex_reads_every_readable_resource_it_names() -> None:
    selection = select_to_read(PROFILE, ".*", regex=True, most=1)
    assert (names(selection), selection.source) == (["A", "AB", "Both"], ".*")


def test_without_regex_a_name_is_a_name() -> None:
    assert names(select_to_read(PROFILE, "A", regex=False, most=9)) == ["A"]
    with pytest.raises(NotFound, match=r"DeviceResource \.\* not found"):
        select_to_read(PROFILE, ".*", regex=False, most=9)


@pytest.mark.parametrize(
    ("name", "regex", "error", "text"),
    [
        ("X.*", True, NotFound, r"Regex DeviceResource X\.\* not found"),
        ("W", True, NotAllowed, "no readable resources matched with W"),
        ("W", False, NotAllowed, "marked as write-only"),
        ("OnlyW", True, NotAllowed, "DeviceCommand OnlyW is marked as write-only"),
        ("(", True, Invalid, "failed to CompilePOSIX resource name"),
        ("Lost", True, DriverFailed, "Gone in GET command Lost"),
    ],
)
def test_a_read_that_cannot_be_says_why(name: str, regex: bool, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        select_to_read(PROFILE, name, regex=regex, most=9)


def test_a_write_knows_whether_what_was_written_can_be_read() -> None:
    assert not select_to_write(PROFILE, "W", most=9).is_readable
    assert select_to_write(PROFILE, "Both", most=9).is_readable
    assert select_to_write(PROFILE, "Set", most=9).operations[0].default == "4"
    assert not select_to_write(PROFILE, "OnlyW", most=9).is_readable


@pytest.mark.parametrize(
    ("name", "error"), [("A", NotAllowed), ("AB", NotAllowed), ("B.*", NotFound), ("Lost", DriverFailed)]
)
def test_a_write_is_exact_and_allowed_or_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        select_to_write(PROFILE, name, most=9)


def test_a_command_of_too_many_operations_is_not_begun() -> None:
    with pytest.raises(DriverFailed, match=r"GET command Set exceed MaxCmdOps \(0\)"):
        select_to_read(PROFILE, "Set", regex=True, most=0)
    with pytest.raises(DriverFailed, match=r"SET command Set exceed MaxCmdOps \(0\)"):
        select_to_write(PROFILE, "Set", most=0)

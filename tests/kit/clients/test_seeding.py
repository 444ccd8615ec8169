"""Secrets of a file are taken into the secret store once, and leave the file."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from edgex_kit.clients.secretstore import open_secret_store
from edgex_kit.clients.seeding import seed_secrets
from edgex_kit.wire.errors import Invalid, Unreachable

from tests.kit.openbao import running


class Store:
    """Remembers, and refuses what it is told to."""

    def __init__(self, *refused: str) -> None:
        self.kept: dict[str, dict[str, str]] = {}
        self.refused = refused

    def write(self, name: str, data: Mapping[str, str]) -> None:
        if name in self.refused:
            raise Unreachable("the store is away")
        self.kept[name] = dict(data)


def secret(name: str, *, imported: bool = False, **data: str) -> dict[str, Any]:
    items = [{"key": key, "value": value} for key, value in data.items()]
    return {"secretName": name, "imported": imported, "secretData": items}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.json"
    door = secret(" door ", username="u", password="hunter22")
    path.write_text(json.dumps({"secrets": [door, secret("old", imported=True)]}))
    path.chmod(0o600)
    return path


def told(file: Path, **more: str) -> dict[str, str]:
    return {"SECRETSTORE_SECRETSFILE": str(file), **more}


def test_secrets_are_stored_once_and_leave_the_file(file: Path) -> None:
    store, again = Store(), Store()
    assert seed_secrets(store, told(file))
    assert store.kept == {"door": {"username": "u", "password": "hunter22"}}
    assert "hunter22" not in file.read_text()
    assert [it["imported"] for it in json.loads(file.read_text())["secrets"]] == [True, True]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert seed_secrets(again, told(file))
    assert again.kept == {}


def test_a_file_that_is_not_to_be_scrubbed_stays_as_it_is(file: Path) -> None:
    before = file.read_text()
    seed_secrets(Store(), told(file, SECRETSTORE_DISABLESCRUBSECRETSFILE="true"))
    assert file.read_text() == before


def test_without_a_file_nothing_is_done() -> None:
    assert not seed_secrets(Store(), {})
    assert not seed_secrets(Store(), {"SECRETSTORE_SECRETSFILE": " "})


def test_what_the_store_refuses_stays_in_the_file_and_ends_the_start(file: Path) -> None:
    file.write_text(json.dumps({"secrets": [secret("door", password="p1"), secret("gate", password="p2")]}))
    store = Store("door")
    with pytest.raises(Unreachable):
        seed_secrets(store, told(file))
    assert store.kept == {"gate": {"password": "p2"}}
    assert [it["imported"] for it in json.loads(file.read_text())["secrets"]] == [False, True]
    seed_secrets(again := Store(), told(file))
    assert again.kept == {"door": {"password": "p1"}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be read"),
        ('{"secrets": []}', "holds no secrets"),
        (
            '{"secrets": [{"secretName": " ", "secretData": [{"key": "a", "value": "hunter22"}]}]}',
            "without a secretName",
        ),
        ('{"secrets": [{"secretName": "door", "imported": false}]}', "'door' is not imported and has no secretData"),
        ('{"secrets": [{"secretName": "door", "secretData": [{"key": "hunter22", "value": 7}]}]}', "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused_without_telling_what_it_holds(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)
    with pytest.raises(Invalid, match=complaint) as refused:
        seed_secrets(Store(), told(file))
    assert str(file) in str(refused.value)
    assert "hunter22" not in str(refused.value)


def test_a_missing_file_and_one_that_cannot_be_scrubbed_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="/nowhere cannot be read"):
        seed_secrets(Store(), told(Path("/nowhere")))

    def full(_self: Path, _data: bytes) -> int:
        raise OSError("Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Invalid, match="were stored but cannot be removed"):
        seed_secrets(Store(), told(file))


async def test_a_service_knows_the_secrets_of_its_file_when_it_starts(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("device-cam", tmp_path) as bao:
        for name, value in told(file, **bao.environment).items():
            monkeypatch.setenv(name, value)
        async with open_secret_store("device-cam", 5, 0.1) as kept:
            assert kept is not None
            assert kept.known["door"].secret_data == {"username": "u", "password": "hunter22"}

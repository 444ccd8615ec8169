"""Secrets by name: kept in core-keeper, found again, and shown nowhere."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest
from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config import layers as config
from edgex_kit.config.settings import InsecureSecret, Settings
from edgex_kit.wire.errors import Invalid, NotAllowed, NotFound
from edgex_kit.wire.messages import SecretData, SecretRequest

Until = Callable[..., Awaitable[None]]


class Edgex(Protocol):
    keeper: str
    provider: str


def asked(name: str, **parts: str) -> SecretRequest:
    return SecretRequest(
        api_version="v3",
        secret_name=name,
        secret_data=tuple(SecretData(key=key, value=value) for key, value in parts.items()),
    )


def test_a_secret_is_found_by_its_name_whatever_its_key_in_the_configuration() -> None:
    held = {"DB": InsecureSecret(secret_name="postgres", secret_data={"username": "u", "password": "p"})}
    secrets = Secrets("cam", lambda: held, None)
    assert secrets.get("postgres") == {"username": "u", "password": "p"}
    assert sorted(secrets.values()) == ["p", "u"]
    with pytest.raises(NotFound, match="no secret named 'DB'; store it with POST /api/v3/secret"):
        secrets.get("DB")


@pytest.mark.integration
async def test_a_stored_secret_is_kept_under_its_escaped_name(keeper: Keeper, unique: str) -> None:
    await Secrets(unique, dict, keeper).store(asked("door/cam 1", username="u", password="hunter22"))
    place = f"{ROOT}/{unique}/Writable/InsecureSecrets/door%2Fcam%201"
    stored = await keeper.values(f"{ROOT}/{unique}")
    assert stored == {
        f"{place}/SecretName": "door/cam 1",
        f"{place}/SecretData/username": "u",
        f"{place}/SecretData/password": "hunter22",
    }
    tree = config.tree_from_keys(stored, f"{ROOT}/{unique}")
    settings = config.check(Settings, ("core-keeper", tree))
    found = Secrets(unique, lambda: settings.writable.insecure_secrets, keeper).get("door/cam 1")
    assert found == {"username": "u", "password": "hunter22"}


@pytest.mark.integration
async def test_a_stored_secret_changes_the_entry_that_holds_it_whatever_its_key(keeper: Keeper, unique: str) -> None:
    place = f"{ROOT}/{unique}/Writable/InsecureSecrets/bus"
    await keeper.put(f"{place}/SecretName", "message-bus")
    await keeper.put(f"{place}/SecretData/password", "old-word")
    held = {"bus": InsecureSecret(secret_name="message-bus", secret_data={"password": "old-word"})}
    await Secrets(unique, lambda: held, keeper).store(asked("message-bus", password="new-word"))
    stored = await keeper.values(f"{ROOT}/{unique}")
    assert stored == {f"{place}/SecretName": "message-bus", f"{place}/SecretData/password": "new-word"}


@pytest.mark.parametrize(
    ("request_", "cause"),
    [
        (asked("", a="b"), "SecretName field is required"),
        (asked("cam"), "SecretData field is required"),
        (asked("cam", a=""), "needs a key and a value"),
        (asked("cam", **{"": "b"}), "needs a key and a value"),
        (asked("cam", **{"a/b": "c"}), "must not contain a slash"),
    ],
)
@pytest.mark.integration
async def test_an_incomplete_secret_is_invalid_and_nothing_is_stored(
    keeper: Keeper, unique: str, request_: SecretRequest, cause: str
) -> None:
    with pytest.raises(Invalid, match=cause):
        await Secrets(unique, dict, keeper).store(request_)
    assert await keeper.values(f"{ROOT}/{unique}") == {}


async def test_without_a_provider_there_is_no_place_for_a_secret() -> None:
    with pytest.raises(NotAllowed, match="without a configuration provider"):
        await Secrets("cam", dict, None).store(asked("cam", a="b"))

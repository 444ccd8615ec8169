"""Secrets by name: kept in core-keeper, found again, and shown nowhere."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from edgex_kit.bus.bus import Bus
from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config import layers as config
from edgex_kit.config.flags import parse_flags
from edgex_kit.config.settings import InsecureSecret, ServiceSection, Settings
from edgex_kit.service.configuration import Live, Provider
from edgex_kit.service.rest import build_app, common_routes
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
async def test_an_incomplete_secret_is_invalid_and_nothing_is_stored(
    keeper: Keeper, unique: str, request_: SecretRequest, cause: str
) -> None:
    with pytest.raises(Invalid, match=cause):
        await Secrets(unique, dict, keeper).store(request_)
    assert await keeper.values(f"{ROOT}/{unique}") == {}


async def test_without_a_provider_there_is_no_place_for_a_secret() -> None:
    with pytest.raises(NotAllowed, match="without a configuration provider"):
        await Secrets("cam", dict, None).store(asked("cam", a="b"))


async def test_a_posted_secret_can_be_used_at_once_and_is_shown_nowhere(
    edgex: Edgex, bus: Bus, unique: str, tmp_path: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "configuration.yaml").write_text("Writable: {LogLevel: DEBUG}")
    provider = Provider(unique, "device-services", parse_flags([f"-cp={edgex.provider}"], {}), tmp_path)
    live = Live(Settings, await provider.load({}))
    secrets = Secrets(unique, lambda: live.now.writable.insecure_secrets, provider.keeper)

    async def follow() -> None:
        async for layers in provider.changes(bus):
            live.replace(layers)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    assert await bus.settle(10)
    app = build_app(common_routes(unique, lambda: live.tree, secrets), ServiceSection())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cam") as http:
        body: dict[str, Any] = {"secretName": "cam", "secretData": [{"key": "password", "value": "hunter22"}]}
        assert (await http.post("/api/v3/secret", json=body)).status_code == 201
        await until(lambda: "hunter22" in list(secrets.values()))
        assert secrets.get("cam") == {"password": "hunter22"}
        shown = (await http.get("/api/v3/config")).text
        assert '"SecretName":"cam"' in shown
        assert "hunter22" not in shown
    assert "hunter22" not in caplog.text
    assert "secret 'cam' stored" in caplog.text
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    provider.close()

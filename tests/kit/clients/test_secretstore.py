"""EdgeX's secure mode: secrets in the secret store, web tokens, and a file of secrets that seeds it."""

import asyncio
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from edgex_kit import supervision
from edgex_kit.clients.http import HttpClient
from edgex_kit.clients.secrets import Secrets
from edgex_kit.clients.secretstore import SecretStore, StoreAddress, StoredSecrets, open_secret_store, seed_secrets
from edgex_kit.config.settings import InsecureSecret, ServiceSection
from edgex_kit.service.rest import build_app, common_routes
from edgex_kit.service.server import open_server
from edgex_kit.wire.errors import Invalid, NotFound, Unauthorized, Unavailable, Unreachable
from edgex_kit.wire.messages import SecretData, SecretRequest

from tests.kit.openbao import OpenBao, running

pytestmark = pytest.mark.integration

SERVICE = "device-cam"


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    with running(SERVICE, tmp_path) as here:
        yield here


@pytest.fixture
def store(bao: OpenBao) -> Iterator[SecretStore]:
    address = StoreAddress.from_environment(SERVICE, bao.environment)
    assert address is not None
    opened = SecretStore(SERVICE, address)
    yield opened
    opened.close()


@pytest.mark.parametrize(("value", "secure"), [("true", True), ("False", True), ("false", False), (None, True)])
def test_only_the_exact_word_turns_security_off(value: str | None, *, secure: bool) -> None:
    environ = {"SECRETSTORE_TOKENFILE": "/nowhere"} | ({"EDGEX_SECURITY_SECRET_STORE": value} if value else {})
    assert (StoreAddress.from_environment(SERVICE, environ) is not None) is secure


def test_the_store_is_looked_for_where_edgex_has_it() -> None:
    address = StoreAddress.from_environment(SERVICE, {"EDGEX_SECURITY_SECRET_STORE": "true", "SECRETSTORE_HOST": "bao"})
    assert address is not None
    assert address.url == "http://bao:8200"
    assert address.token_file == Path("/tmp/edgex/secrets/device-cam/secrets-token.json")
    assert address.setup_url == "http://localhost:59843"


def test_a_secret_is_read_as_it_was_written(store: SecretStore) -> None:
    assert store.names() == []
    store.write("door", {"username": "u", "password": "hunter22"})
    assert store.names() == ["door"]
    assert store.read("door") == {"username": "u", "password": "hunter22"}
    with pytest.raises(NotFound):
        store.read("window")


def test_a_token_that_has_ended_is_replaced_and_the_call_repeated(store: SecretStore, bao: OpenBao) -> None:
    bao.secrets["door"] = {"password": "hunter22"}
    bao.end_token()
    assert store.read("door") == {"password": "hunter22"}
    assert "PUT /api/v3/token/entityId/e-1" in bao.asked


def test_a_missing_token_file_is_named(store: SecretStore, bao: OpenBao) -> None:
    bao.token_file.unlink()
    with pytest.raises(Unavailable, match=r"secrets-token\.json; without .* EDGEX_SECURITY_SECRET_STORE=false"):
        store.names()


async def test_calls_to_other_services_carry_it(store: SecretStore) -> None:
    app = build_app(
        common_routes("core-keeper", dict, Secrets("core-keeper", dict, None)),
        ServiceSection(),
        guard=StoredSecrets(store).is_valid,
    )
    async with open_server(app, "127.0.0.1", 0) as port:
        known = HttpClient(f"http://127.0.0.1:{port}", name="core-keeper", identify=store.identity)
        unknown = HttpClient(f"http://127.0.0.1:{port}", name="core-keeper")
        assert await known.fetch("/api/v3/version", "serviceName") == "core-keeper"
        with pytest.raises(Unauthorized):
            await unknown.fetch("/api/v3/version", "serviceName")
        known.close()
        unknown.close()


async def test_everybody_may_ping_and_nobody_else_enters_without_a_good_token(store: SecretStore) -> None:
    app = build_app(
        common_routes(SERVICE, dict, Secrets(SERVICE, dict, None)),
        ServiceSection(),
        guard=StoredSecrets(store).is_valid,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        assert (await http.get("/api/v3/ping")).status_code == 200
        for headers in ({}, {"Authorization": "Bearer forged"}, {"Authorization": "Basic dTpw"}):
            refused = await http.get("/api/v3/config", headers=headers)
            assert refused.status_code == 401
            assert refused.json() == {"message": "Unauthorized"}
        assert (
            await http.get("/api/v3/config", headers={"Authorization": "Bearer jwt-of-a-person"})
        ).status_code == 200


async def test_nobody_enters_while_the_store_cannot_be_asked(store: SecretStore, bao: OpenBao) -> None:
    bao.token_file.unlink()
    assert not await StoredSecrets(store).is_valid("jwt-of-a-person")


async def test_a_secret_that_is_posted_goes_to_the_store_and_insecure_ones_count_for_nothing(
    store: SecretStore, bao: OpenBao
) -> None:
    insecure = {"x": InsecureSecret(secret_name="window", secret_data={"password": "open"})}
    secrets = Secrets(SERVICE, lambda: insecure, None, StoredSecrets(store))
    await secrets.store(SecretRequest(secret_name="door", secret_data=(SecretData(key="password", value="hunter22"),)))
    assert bao.secrets == {"door": {"password": "hunter22"}}
    assert secrets.get("door") == {"password": "hunter22"}
    assert list(secrets.values()) == ["hunter22"]
    with pytest.raises(NotFound):
        secrets.get("window")


async def test_a_service_waits_for_its_token(
    bao: OpenBao, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for key, value in bao.environment.items():
        monkeypatch.setenv(key, value)
    bao.secrets["message-bus"] = {"username": "u", "password": "p"}
    bao.token_file.unlink()
    asyncio.get_running_loop().call_later(0.3, bao.lay_down_token)
    with caplog.at_level("INFO"):
        async with open_secret_store(SERVICE, 10, 0.05) as kept:
            assert kept is not None
            assert kept.known["message-bus"].secret_data == {"username": "u", "password": "p"}
    assert caplog.text.count("waiting for the secret store") == 1


async def test_a_service_gives_up_when_no_token_comes(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in bao.environment.items():
        monkeypatch.setenv(key, value)
    bao.token_file.unlink()
    with pytest.raises(Unavailable):
        async with open_secret_store(SERVICE, 0.2, 0.05):
            pass


async def test_the_token_is_renewed_and_changed_secrets_are_seen(store: SecretStore, bao: OpenBao) -> None:
    kept = StoredSecrets(store)
    bao.secrets["door"] = {"password": "new"}
    renewing = asyncio.create_task(kept.keep_renewed())
    while "door" not in kept.known:
        await asyncio.sleep(0.02)
    assert "POST /v1/auth/token/renew-self" in bao.asked
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)


async def test_renewing_goes_on_after_an_answer_nobody_expected(
    bao: OpenBao, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervision, "BACKOFF", supervision.every(0.01))
    for key, value in bao.environment.items():
        monkeypatch.setenv(key, value)
    bao.renewals = [{"auth": None}, {"warnings": []}]
    async with open_secret_store(SERVICE, 10, 0.05), asyncio.timeout(10):
        while bao.asked.count("POST /v1/auth/token/renew-self") < 3:
            await asyncio.sleep(0.02)
    assert len(caplog.records) >= 2


async def test_insecure_mode_has_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEX_SECURITY_SECRET_STORE", "false")
    async with open_secret_store(SERVICE, 1, 0.1) as kept:
        assert kept is None


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

"""EdgeX's secret store in secure mode: OpenBao, opened with the token in a file that EdgeX writes.

A service has a path of its own there for secrets, and gets from it the JSON web tokens by which EdgeX services identify
each other. `SecretStore` blocks; `StoredSecrets` is the asynchronous view of a running service, with a token that is
renewed. A file of secrets (SECRETSTORE_SECRETSFILE) is imported once at the start.
"""

import asyncio
import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from edgex_kit.clients.http import HttpClient
from edgex_kit.config.settings import InsecureSecret
from edgex_kit.supervision import every, forever, retry
from edgex_kit.wire.errors import EdgexError, Forbidden, Invalid, NotFound, Unauthorized, Unavailable, cause_of
from edgex_kit.wire.messages import SecretData

log = logging.getLogger(__name__)

_EARLY = 60.0  # seconds before its end that a web token is replaced
_RENEW_LEAST, _RENEW_MOST = 1.0, 1800.0  # seconds between renewals of the store's own token


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a service finds its secret store."""

    url: str
    token_file: Path
    setup_url: str  # of security-secretstore-setup, which makes a new token file when the token has ended

    @classmethod
    def from_environment(cls, service: str, environ: Mapping[str, str] = os.environ) -> "StoreAddress | None":
        """None in insecure mode: EDGEX_SECURITY_SECRET_STORE is exactly "false"."""
        if environ.get("EDGEX_SECURITY_SECRET_STORE") == "false":
            return None
        token = Path(environ.get("SECRETSTORE_TOKENFILE") or f"/tmp/edgex/secrets/{service}/secrets-token.json")  # noqa: S108 - EdgeX's place

        def url(prefix: str, port: int) -> str:
            protocol, host, own = (environ.get(f"{prefix}_{part}") for part in ("PROTOCOL", "HOST", "PORT"))
            return f"{protocol or 'http'}://{host or 'localhost'}:{own or port}"

        return cls(url("SECRETSTORE", 8200), token, url("CLIENTS_SECURITY_SECRETSTORE_SETUP", 59843))


class SecretStore:
    """One service's secrets in the secret store. Any thread may call."""

    def __init__(self, service: str, address: StoreAddress) -> None:
        self._service = service
        self._address = address
        self._lock = threading.Lock()
        self._jwt, self._jwt_ends = "", 0.0  # ends in monotonic seconds
        self._bao = HttpClient(address.url, name="the secret store", identify=self._headers)
        self._setup = HttpClient(address.setup_url, name="security-secretstore-setup")

    def names(self) -> list[str]:
        """The names of the secrets."""
        try:
            found = self._call("GET", f"/v1/secret/edgex/{self._service}", params={"list": "true"})
        except NotFound:  # none yet
            return []
        return [str(key) for key in found["data"]["keys"]]

    def read(self, name: str) -> dict[str, str]:
        """The secret's keys and values. Raises NotFound."""
        found = self._call("GET", self._path(name))
        return {str(key): str(value) for key, value in found["data"].items()}

    def write(self, name: str, data: Mapping[str, str]) -> None:
        """Store a secret, replacing one of the same name."""
        self._call("POST", self._path(name), body=dict(data))

    def renew(self) -> float:
        """Renew the store's own token; its life in seconds."""
        return float(self._call("POST", "/v1/auth/token/renew-self", body={})["auth"]["lease_duration"])

    def identity(self) -> dict[str, str]:
        """The header that identifies us to other EdgeX services."""
        with self._lock:
            if time.monotonic() >= self._jwt_ends:
                found = self._call("GET", f"/v1/identity/oidc/token/{self._service}")["data"]
                self._jwt, self._jwt_ends = found["token"], time.monotonic() + float(found["ttl"]) - _EARLY
            return {"Authorization": f"Bearer {self._jwt}"}

    def is_valid(self, token: str) -> bool:
        """Whether a caller's JSON web token is one of EdgeX's and has not expired."""
        return self._call("POST", "/v1/identity/oidc/introspect", body={"token": token}).get("active") is True

    def close(self) -> None:
        """Give up the kept connections."""
        self._bao.close()
        self._setup.close()

    def _call(self, method: str, path: str, **how: Any) -> Any:
        try:
            return self._bao.call_now(method, path, **how)
        except (Forbidden, Unauthorized):  # the token has expired: EdgeX writes a new file for its entity
            entity = quote(str(self._token()["entity_id"]), safe="")
            self._setup.call_now("PUT", f"/api/v3/token/entityId/{entity}")
            return self._bao.call_now(method, path, **how)

    def _headers(self) -> dict[str, str]:
        return {"X-Vault-Token": str(self._token()["client_token"])}

    def _token(self) -> dict[str, Any]:
        """Read anew each time: EdgeX may have replaced the file. Raises Unavailable when it is not there (yet)."""
        try:
            token: dict[str, Any] = json.loads(self._address.token_file.read_text(encoding="utf-8"))["auth"]
        except (OSError, ValueError, KeyError) as error:
            way_out = "without EdgeX's security set EDGEX_SECURITY_SECRET_STORE=false"
            raise Unavailable(f"no token for the secret store in {self._address.token_file}; {way_out}") from error
        return token

    def _path(self, name: str) -> str:
        return f"/v1/secret/edgex/{self._service}/{quote(name, safe='')}"


class StoredSecrets:
    """The secrets of `store` as they were read last, in the form of insecure ones."""

    def __init__(self, store: SecretStore) -> None:
        self.store = store
        self.known: Mapping[str, InsecureSecret] = {}
        self.on_read: Callable[[], object] = lambda: None  # called on the event loop

    async def read_all(self) -> None:
        """Read them again. Raises the store's errors."""
        self.known = await asyncio.to_thread(self._read_all)
        self.on_read()

    async def store_secret(self, name: str, data: Mapping[str, str]) -> None:
        """Store a secret."""
        await asyncio.to_thread(self.store.write, name, data)
        await self.read_all()

    async def is_valid(self, token: str) -> bool:
        """Whether a caller's token is valid; False when the store does not answer."""
        try:
            return await asyncio.to_thread(self.store.is_valid, token)
        except EdgexError as error:
            log.warning("a caller's token could not be checked: %s", error)
            return False

    async def keep_renewed(self) -> None:
        """Renew the token at half its life, and read the secrets again."""
        while True:
            try:
                life = await asyncio.to_thread(self.store.renew)
                await self.read_all()
            except EdgexError as error:
                log.warning("the secret store's token was not renewed, the next attempt follows soon: %s", error)
                life = _EARLY
            await asyncio.sleep(max(_RENEW_LEAST, min(life / 2, _RENEW_MOST)))

    def _read_all(self) -> dict[str, InsecureSecret]:
        return {
            name: InsecureSecret(secret_name=name, secret_data=self.store.read(name)) for name in self.store.names()
        }


@contextlib.asynccontextmanager
async def open_secret_store(service: str, wait: float, interval: float) -> AsyncIterator[StoredSecrets | None]:
    """The service's secrets, kept fresh for the length of the block; None in insecure mode.

    Waits `wait` seconds for token and store, then raises Unavailable with the cause. Raises also what
    importing a file of secrets raises.
    """
    address = StoreAddress.from_environment(service)
    if address is None:
        yield None
        return
    kept = StoredSecrets(SecretStore(service, address))
    await retry(kept.read_all, "waiting for the secret store", backoff=every(interval), within=wait, level=logging.INFO)
    if await asyncio.to_thread(seed_secrets, kept.store):
        await kept.read_all()
    renewing = asyncio.create_task(forever("secret store", kept.keep_renewed), name="secret store")
    try:
        yield kept
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        kept.store.close()


class Seed(msgspec.Struct, rename="camel", frozen=True):
    """One secret of the file; one that is imported has no data any more."""

    secret_name: str
    imported: bool = False
    secret_data: tuple[SecretData, ...] = ()

    @property
    def data(self) -> dict[str, str]:
        return {item.key: item.value for item in self.secret_data}


class Seeds(msgspec.Struct, frozen=True):
    """The file."""

    secrets: tuple[Seed, ...]


class Store(Protocol):
    """Where secrets are stored."""

    def write(self, name: str, data: Mapping[str, str]) -> None: ...


def seed_secrets(store: Store, environ: Mapping[str, str] = os.environ) -> bool:
    """Import the secrets of the file SECRETSTORE_SECRETSFILE; False when there is none. Blocks.

    EdgeX's format: {"secrets": [{"secretName", "imported", "secretData": [{"key", "value"}]}]}. An imported secret is
    marked so, and its values are removed, unless SECRETSTORE_DISABLESCRUBSECRETSFILE is "true". Raises Invalid for a
    file that cannot be read or scrubbed, and the first refusal of the store, after the other secrets.
    """
    named = environ.get("SECRETSTORE_SECRETSFILE", "").strip()
    if not named:
        return False
    file = Path(named)
    seeds = _read(file)
    imported, refusals = [], []
    for seed in seeds.secrets:
        try:
            imported.append(_imported(store, seed))
        except EdgexError as error:
            log.warning("the secret '%s' of %s was not stored: %s", seed.secret_name, file, error)
            refusals.append(error)
            imported.append(seed)
    if environ.get("SECRETSTORE_DISABLESCRUBSECRETSFILE", "").lower() != "true":
        _scrub(file, Seeds(tuple(imported)))
    if refusals:
        raise refusals[0]
    return True


def _imported(store: Store, seed: Seed) -> Seed:
    if seed.imported:
        return seed
    store.write(seed.secret_name.strip(), seed.data)
    log.info("the secret '%s' was imported into the secret store", seed.secret_name)
    return replace(seed, imported=True, secret_data=())


def _read(file: Path) -> Seeds:
    try:
        seeds = msgspec.json.decode(file.read_bytes(), type=Seeds)
    except (OSError, msgspec.MsgspecError) as error:
        raise Invalid(f"the secrets of {file} cannot be read: {cause_of(error)}") from error
    if not seeds.secrets:
        raise Invalid(f"{file} holds no secrets")
    for seed in seeds.secrets:
        if not seed.secret_name.strip():
            raise Invalid(f"{file}: a secret without a secretName")
        if not seed.imported and not seed.secret_data:
            raise Invalid(f"{file}: the secret '{seed.secret_name}' is not imported and has no secretData")
    return seeds


def _scrub(file: Path, seeds: Seeds) -> None:
    """Write in place: the file may be a mount, and keeps its mode."""
    try:
        file.write_bytes(msgspec.json.encode(seeds))
    except OSError as error:
        raise Invalid(f"the secrets were stored but cannot be removed from {file}: {cause_of(error)}") from error

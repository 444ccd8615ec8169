"""EdgeX's secret store in secure mode (contract 9): OpenBao, entered with a token that EdgeX lays down as a file.

A service has a place of its own there for secrets, and gets from it the JSON web tokens that EdgeX services show each
other. Calls block; `Kept` is what a running service holds: the secrets it has read, and a token that is renewed.
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
from edgex_kit.supervision import forever
from edgex_kit.wire.errors import EdgexError, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
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
        """None in insecure mode: EDGEX_SECURITY_SECRET_STORE is exactly "false" (contract 9.1)."""
        if environ.get("EDGEX_SECURITY_SECRET_STORE") == "false":
            return None
        token = Path(environ.get("SECRETSTORE_TOKENFILE") or f"/tmp/edgex/secrets/{service}/secrets-token.json")  # noqa: S108 - EdgeX's place

        def url(prefix: str, port: int) -> str:
            said = (environ.get(f"{prefix}_{part}") for part in ("PROTOCOL", "HOST", "PORT"))
            protocol, host, own = said
            return f"{protocol or 'http'}://{host or 'localhost'}:{own or port}"

        return cls(url("SECRETSTORE", 8200), token, url("CLIENTS_SECURITY_SECRETSTORE_SETUP", 59843))


class SecretStore:
    """One service's place in the secret store. Any thread may call."""

    def __init__(self, service: str, address: StoreAddress) -> None:
        self._service = service
        self._address = address
        self._lock = threading.Lock()
        self._jwt, self._jwt_ends = "", 0.0  # ends in monotonic seconds
        self._bao = HttpClient(address.url, name="the secret store", identify=self._entry)
        self._setup = HttpClient(address.setup_url, name="security-secretstore-setup")

    def names(self) -> list[str]:
        """Which secrets there are."""
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
        """Keep a secret, in the place of one that has the name."""
        self._call("POST", self._path(name), body=dict(data))

    def renew(self) -> float:
        """Prolong the store's own token; the seconds it lives now."""
        return float(self._call("POST", "/v1/auth/token/renew-self", body={})["auth"]["lease_duration"])

    def identity(self) -> dict[str, str]:
        """The header that tells other EdgeX services who we are."""
        with self._lock:
            if time.monotonic() >= self._jwt_ends:
                found = self._call("GET", f"/v1/identity/oidc/token/{self._service}")["data"]
                self._jwt, self._jwt_ends = found["token"], time.monotonic() + float(found["ttl"]) - _EARLY
            return {"Authorization": f"Bearer {self._jwt}"}

    def vouches_for(self, token: str) -> bool:
        """Whether a JSON web token that somebody shows us is one of EdgeX's and still holds."""
        return self._call("POST", "/v1/identity/oidc/introspect", body={"token": token}).get("active") is True

    def close(self) -> None:
        """Give up the kept connections."""
        self._bao.close()
        self._setup.close()

    def _call(self, method: str, path: str, **how: Any) -> Any:
        try:
            return self._bao.call_now(method, path, **how)
        except (Forbidden, Unauthorized):  # the token has ended: EdgeX writes a new file for who it belonged to
            entity = quote(str(self._token()["entity_id"]), safe="")
            self._setup.call_now("PUT", f"/api/v3/token/entityId/{entity}")
            return self._bao.call_now(method, path, **how)

    def _entry(self) -> dict[str, str]:
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


class Kept:
    """The secrets as they were read last, in the form of insecure ones; `store` is where they come from."""

    def __init__(self, store: SecretStore) -> None:
        self.store = store
        self.known: Mapping[str, InsecureSecret] = {}
        self.on_read: Callable[[], object] = lambda: None  # called on the event loop

    async def read_all(self) -> None:
        """Read them again. Raises what the store says."""
        self.known = await asyncio.to_thread(self._read_all)
        self.on_read()

    async def keep(self, name: str, data: Mapping[str, str]) -> None:
        """Store one."""
        await asyncio.to_thread(self.store.write, name, data)
        await self.read_all()

    async def vouches_for(self, token: str) -> bool:
        """Whether a token that a caller shows is good; no when the store cannot be asked."""
        try:
            return await asyncio.to_thread(self.store.vouches_for, token)
        except EdgexError as error:
            log.warning("a caller's token could not be checked: %s", error)
            return False

    async def renew_for_ever(self) -> None:
        """Renew the token at half its life; secrets that changed meanwhile are seen then."""
        while True:
            try:
                life = await asyncio.to_thread(self.store.renew)
                await self.read_all()
            except EdgexError as error:
                log.warning("the secret store's token was not renewed, tried again soon: %s", error)
                life = _EARLY
            await asyncio.sleep(max(_RENEW_LEAST, min(life / 2, _RENEW_MOST)))

    def _read_all(self) -> dict[str, InsecureSecret]:
        return {
            name: InsecureSecret(secret_name=name, secret_data=self.store.read(name)) for name in self.store.names()
        }


@contextlib.asynccontextmanager
async def open_secret_store(service: str, wait: float, interval: float) -> AsyncIterator[Kept | None]:
    """The service's secrets, kept fresh for the length of the block; None in insecure mode.

    Waits `wait` seconds for token and store, then raises what was wrong; also with a file of secrets to take in.
    """
    address = StoreAddress.from_environment(service)
    if address is None:
        yield None
        return
    kept = Kept(SecretStore(service, address))
    deadline = time.monotonic() + wait
    said = ""
    while True:
        try:
            await kept.read_all()
            break
        except EdgexError as error:
            if time.monotonic() >= deadline:
                raise
            if str(error) != said:
                said = str(error)
                log.info("waiting for the secret store: %s", said)
        await asyncio.sleep(interval)
    if await asyncio.to_thread(seed_secrets, kept.store):
        await kept.read_all()
    renewing = asyncio.create_task(forever("secret store", kept.renew_for_ever), name="secret store")
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
    """Where secrets are kept."""

    def write(self, name: str, data: Mapping[str, str]) -> None: ...


def seed_secrets(store: Store, environ: Mapping[str, str] = os.environ) -> bool:
    """Take in the secrets of the file SECRETSTORE_SECRETSFILE; False when there is none. Blocks.

    Raises Invalid for a file that is none or cannot be scrubbed, and the first refusal of the store, after all others.
    """
    named = environ.get("SECRETSTORE_SECRETSFILE", "").strip()
    if not named:
        return False
    file = Path(named)
    seeds = _read(file)
    taken, refusals = [], []
    for seed in seeds.secrets:
        try:
            taken.append(_taken(store, seed))
        except EdgexError as error:
            log.warning("the secret '%s' of %s was not stored: %s", seed.secret_name, file, error)
            refusals.append(error)
            taken.append(seed)
    if environ.get("SECRETSTORE_DISABLESCRUBSECRETSFILE", "").lower() != "true":
        _scrub(file, Seeds(tuple(taken)))
    if refusals:
        raise refusals[0]
    return True


def _taken(store: Store, seed: Seed) -> Seed:
    if seed.imported:
        return seed
    store.write(seed.secret_name.strip(), seed.data)
    log.info("the secret '%s' was taken into the secret store", seed.secret_name)
    return replace(seed, imported=True, secret_data=())


def _read(file: Path) -> Seeds:
    try:
        seeds = msgspec.json.decode(file.read_bytes(), type=Seeds)
    except (OSError, msgspec.MsgspecError) as error:
        raise Invalid(f"the secrets of {file} cannot be read: {error}") from error
    if not seeds.secrets:
        raise Invalid(f"{file} holds no secrets")
    for seed in seeds.secrets:
        if not seed.secret_name.strip():
            raise Invalid(f"{file}: a secret without a secretName")
        if not seed.imported and not seed.secret_data:
            raise Invalid(f"{file}: the secret '{seed.secret_name}' is not imported and has no secretData")
    return seeds


def _scrub(file: Path, seeds: Seeds) -> None:
    """In place: the file may be a mount, and keeps its mode."""
    try:
        file.write_bytes(msgspec.json.encode(seeds))
    except OSError as error:
        raise Invalid(f"the secrets were stored but cannot be removed from {file}: {error}") from error

"""Secrets by name: `Writable.InsecureSecrets`, or in secure mode those of the secret store."""

import logging
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.clients.secretstore import StoredSecrets
from edgex_kit.config.settings import InsecureSecret
from edgex_kit.wire.errors import Invalid, NotAllowed, NotFound
from edgex_kit.wire.messages import SecretRequest

log = logging.getLogger(__name__)


class Secrets:
    """The secrets of one service; `current` gives the live insecure secrets, which are ignored in secure mode."""

    def __init__(
        self,
        service: str,
        current: Callable[[], Mapping[str, InsecureSecret]],
        keeper: Keeper | None,
        stored: StoredSecrets | None = None,
    ) -> None:
        self._service = service
        self._current = current if stored is None else lambda: stored.known
        self._keeper = keeper
        self._stored = stored
        self._seen = dict(self._current())
        self._listeners: list[Callable[[], object]] = []
        self.on_stored: Callable[[], object] = lambda: None  # called on the event loop when core-keeper has a new one
        if stored is not None:
            stored.on_read = self.check

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` on the event loop whenever a secret has changed."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], object]) -> None:
        """Remove the listener."""
        self._listeners.remove(listener)

    def check(self) -> None:
        """Call the listeners if secrets have changed."""
        now = dict(self._current())
        if now != self._seen:
            self._seen = now
            for listener in self._listeners:
                listener()

    def get(self, name: str) -> dict[str, str]:
        """The secret's keys and values. Raises NotFound, naming it."""
        for secret in self._current().values():
            if secret.secret_name == name:
                return dict(secret.secret_data)
        raise NotFound(f"no secret named '{name}'; store it with POST /api/v3/secret")

    def place_before_start(self, name: str) -> str:
        """Where an administrator stores a secret while the service does not run."""
        if self._stored is not None:
            return "a file that SECRETSTORE_SECRETSFILE names"
        key = f"Writable/InsecureSecrets/{quote(name, safe='')}"
        form = "with SecretName and SecretData"
        if self._keeper is not None:
            return f"core-keeper under {ROOT}/{self._service}/{key}, {form}"
        return f"the configuration file under {key}, {form}"

    def values(self) -> Iterator[str]:
        """Every secret value, for redaction."""
        for secret in self._current().values():
            yield from secret.secret_data.values()

    async def store(self, request: SecretRequest) -> None:
        """Store a secret. Raises Invalid for an empty one, NotAllowed where it cannot be stored."""
        _check(request)
        if self._stored is not None:
            await self._stored.store_secret(request.secret_name, {item.key: item.value for item in request.secret_data})
        else:
            await self._store_insecurely(request)
        log.info("secret '%s' stored", request.secret_name)

    async def _store_insecurely(self, request: SecretRequest) -> None:
        if self._keeper is None:
            raise NotAllowed("secrets cannot be stored without a configuration provider in insecure mode")
        place = f"{ROOT}/{self._service}/Writable/InsecureSecrets/{self._entry(request.secret_name)}"
        for item in request.secret_data:
            await self._keeper.put(f"{place}/SecretData/{item.key}", item.value)
        await self._keeper.put(f"{place}/SecretName", request.secret_name)
        self.on_stored()

    def _entry(self, name: str) -> str:
        """The key of the entry that holds this secret, which may be any; for a new one the escaped name, as EdgeX."""
        held = (key for key, secret in self._current().items() if secret.secret_name == name)
        return next(held, quote(name, safe=""))


def _check(request: SecretRequest) -> None:
    if not request.secret_name:
        raise Invalid("SecretRequest.SecretName field is required")
    if not request.secret_data:
        raise Invalid("SecretRequest.SecretData field is required")
    for item in request.secret_data:
        if not item.key or not item.value:
            raise Invalid("SecretRequest.SecretData: every item needs a key and a value")
        if "/" in item.key:  # it would be several levels of core-keeper's keys
            raise Invalid(f"SecretRequest.SecretData: the key '{item.key}' must not contain a slash")

"""Secrets by name: `Writable.InsecureSecrets`, or in secure mode what the secret store holds (contract 5, 9)."""

import logging
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.clients.secretstore import Kept
from edgex_kit.config.settings import InsecureSecret
from edgex_kit.wire.errors import Invalid, NotAllowed, NotFound
from edgex_kit.wire.messages import SecretRequest

log = logging.getLogger(__name__)


class Secrets:
    """The secrets of one service; `current` gives the live insecure secrets, which count for nothing beside `kept`."""

    def __init__(
        self,
        service: str,
        current: Callable[[], Mapping[str, InsecureSecret]],
        keeper: Keeper | None,
        kept: Kept | None = None,
    ) -> None:
        self._service = service
        self._current = current if kept is None else lambda: kept.known
        self._keeper = keeper
        self._kept = kept
        self._seen = dict(self._current())
        self._listeners: list[Callable[[], object]] = []
        self.on_stored: Callable[[], object] = lambda: None  # called on the event loop: core-keeper holds a new one
        if kept is not None:
            kept.on_read = self.look

    def on_change(self, tell: Callable[[], object]) -> None:
        """Call `tell` whenever a secret has changed, on the event loop."""
        self._listeners.append(tell)

    def forget(self, tell: Callable[[], object]) -> None:
        """Call `tell` no more."""
        self._listeners.remove(tell)

    def look(self) -> None:
        """See whether secrets have changed."""
        now = dict(self._current())
        if now != self._seen:
            self._seen = now
            for tell in self._listeners:
                tell()

    def get(self, name: str) -> dict[str, str]:
        """The secret's keys and values. Raises NotFound, naming it."""
        for secret in self._current().values():
            if secret.secret_name == name:
                return dict(secret.secret_data)
        raise NotFound(f"no secret named '{name}'; store it with POST /api/v3/secret")

    def place_before_start(self, name: str) -> str:
        """Where an administrator lays down a secret while the service does not run."""
        if self._kept is not None:
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
        """Keep a secret. Raises Invalid for an empty one, NotAllowed where there is no place to keep it."""
        _check(request)
        if self._kept is not None:
            await self._kept.keep(request.secret_name, {item.key: item.value for item in request.secret_data})
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
        """The key of the entry that holds this secret, which may be any; EdgeX's own for a new one (contract 5)."""
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
            raise Invalid(f"SecretRequest.SecretData: the key '{item.key}' must not hold a slash")

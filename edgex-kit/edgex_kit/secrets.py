"""Secrets by name. In insecure mode they are `Writable.InsecureSecrets`, in memory or in core-keeper (contract 5)."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from edgex_kit.errors import Invalid, NotAllowed, NotFound
from edgex_kit.keeper import ROOT, Keeper
from edgex_kit.messages import SecretRequest
from edgex_kit.settings import InsecureSecret

log = logging.getLogger(__name__)


def is_secure(environ: Mapping[str, str] = os.environ) -> bool:
    """EdgeX is secure unless EDGEX_SECURITY_SECRET_STORE is exactly "false" (contract 9.1)."""
    return environ.get("EDGEX_SECURITY_SECRET_STORE", "true") != "false"


class Secrets:
    """The secrets of one service; `current` gives the live insecure secrets."""

    def __init__(
        self, service: str, current: Callable[[], Mapping[str, InsecureSecret]], keeper: Keeper | None
    ) -> None:
        self._service = service
        self._current = current
        self._keeper = keeper

    def get(self, name: str) -> dict[str, str]:
        """The secret's keys and values. Raises NotFound, naming it."""
        for secret in self._current().values():
            if secret.secret_name == name:
                return dict(secret.secret_data)
        raise NotFound(f"no secret named '{name}'; store it with POST /api/v3/secret")

    def values(self) -> Iterator[str]:
        """Every secret value, for redaction."""
        for secret in self._current().values():
            yield from secret.secret_data.values()

    async def store(self, request: SecretRequest) -> None:
        """Keep a secret. Raises Invalid for an empty one, NotAllowed where there is no place to keep it."""
        if not request.secret_name:
            raise Invalid("SecretRequest.SecretName field is required")
        if not request.secret_data:
            raise Invalid("SecretRequest.SecretData field is required")
        for item in request.secret_data:
            if not item.key or not item.value:
                raise Invalid("SecretRequest.SecretData: every item needs a key and a value")
            if "/" in item.key:  # it would be several levels of core-keeper's keys
                raise Invalid(f"SecretRequest.SecretData: the key '{item.key}' must not hold a slash")
        if self._keeper is None:
            raise NotAllowed("secrets cannot be stored without a configuration provider in insecure mode")
        place = f"{ROOT}/{self._service}/Writable/InsecureSecrets/{quote(request.secret_name, safe='')}"
        for item in request.secret_data:
            await self._keeper.put(f"{place}/SecretData/{item.key}", item.value)
        await self._keeper.put(f"{place}/SecretName", request.secret_name)
        log.info("secret '%s' stored", request.secret_name)

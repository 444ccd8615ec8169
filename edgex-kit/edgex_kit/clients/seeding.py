"""Secrets that an administrator hands a service as a file, taken into its secret store once (contract 9.2).

EdgeX's format: {"secrets": [{"secretName", "imported", "secretData": [{"key", "value"}]}]}. What has been taken is
marked `imported`, and its values are removed from the file, unless SECRETSTORE_DISABLESCRUBSECRETSFILE is "true".
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from edgex_kit.wire.errors import EdgexError, Invalid
from edgex_kit.wire.messages import SecretData

log = logging.getLogger(__name__)


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

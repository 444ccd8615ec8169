"""The section `MessageBus` as a connection to make (contract 1.4)."""

import contextlib
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from edgex_kit.bus.bus import Bus, BusSettings, open_bus
from edgex_kit.bus.queues import Latest
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config.settings import Settings
from edgex_kit.wire.errors import EdgexError, Invalid, NotFound

log = logging.getLogger(__name__)

ENCRYPTED = ("tcps", "ssl", "tls", "mqtts")
_NEEDS: Mapping[str, tuple[str, ...]] = {  # what a secret holds for each MessageBus.AuthMode
    "none": (),
    "usernamepassword": ("username", "password"),
    "clientcert": ("clientcert", "clientkey"),
    "cacert": ("cacert",),
}
_INSTEAD = {  # MessageBus.Optional may hold the same
    "username": "Username",
    "password": "Password",
    "cacert": "CaFile",
    "clientcert": "CertFile",
    "clientkey": "KeyFile",
}


def bus_settings(settings: Settings, secrets: Secrets, service: str) -> BusSettings:
    """Where to connect, as whom, and how encrypted. Raises Invalid for what cannot be spoken, NotFound for a secret."""
    section, optional = settings.message_bus, settings.message_bus.optional
    if section.type.lower() != "mqtt":
        raise Invalid(f"MessageBus.Type '{section.type}' is not known here; use mqtt")
    if section.auth_mode not in _NEEDS:
        raise Invalid(f"MessageBus.AuthMode '{section.auth_mode}' is none of {', '.join(_NEEDS)}")
    secret_name = "" if section.auth_mode == "none" else section.secret_name
    secret = {} if section.auth_mode == "none" else secrets.get(section.secret_name)
    return BusSettings(
        host=section.host,
        port=section.port,
        client_id=optional.get("ClientId") or service,
        qos=_whole(optional, "Qos", 0),
        retained=_flag(optional, "Retained"),
        keep_alive=_whole(optional, "KeepAlive", 10),
        connect_timeout=_whole(optional, "ConnectTimeout", 5),
        username=secret.get("username") or optional.get("Username", ""),
        password=secret.get("password") or optional.get("Password", ""),
        secret=secret,
        secret_name=secret_name,
        lacks=tuple(
            key for key in _NEEDS[section.auth_mode] if not secret.get(key) and not optional.get(_INSTEAD[key])
        ),
        tls=_tls(optional, secret) if section.protocol.lower() in ENCRYPTED else None,
    )


@contextlib.asynccontextmanager
async def open_connection(settings: Settings, secrets: Secrets, service: str) -> AsyncIterator[Bus]:
    """The bus for the length of the block; with `MessageBus.Disabled` one that never connects. Raises as above."""
    if settings.message_bus.disabled:
        log.info("MessageBus.Disabled is true: nothing is published or heard")
        yield Bus(BusSettings(client_id=service))
        return
    try:
        found = bus_settings(settings, secrets, service)
    except NotFound as error:  # there is no service yet that a secret could be posted to
        name, mode = settings.message_bus.secret_name, settings.message_bus.auth_mode
        before = secrets.place_before_start(name)
        raise NotFound(f"no secret named '{name}' for MessageBus.AuthMode {mode}; store it in {before}") from error
    async with open_bus(found) as bus:
        yield bus


async def keep_credentials(bus: Bus, secrets: Secrets, wanted: Callable[[], BusSettings]) -> None:
    """Enter the broker anew, for ever, when the secret that opens it has changed."""
    changes: Latest[bool] = Latest()
    with _told_to(changes, secrets):
        while True:
            await changes.get()
            try:
                settings = wanted()
            except EdgexError as error:
                log.warning("the broker's new credentials cannot be used, the old ones stay: %s", error)
                continue
            if settings.secret != bus.settings.secret:
                log.info("the broker's credentials have changed; entering it anew")
                await bus.enter_as(settings)


@contextlib.contextmanager
def _told_to(changes: Latest[bool], secrets: Secrets) -> Iterator[None]:
    """Put something into `changes` now, since the secret may be another than the bus was opened with, and at each."""

    def change() -> None:
        changes.put(True)

    secrets.on_change(change)
    change()
    try:
        yield
    finally:
        secrets.forget(change)


def _tls(optional: Mapping[str, str], secret: Mapping[str, str]) -> ssl.SSLContext:
    """Certificates from the secret, or from files and PEM texts that the configuration names."""
    authority = secret.get("cacert") or optional.get("CaPEMBlock")
    try:
        context = ssl.create_default_context(cafile=optional.get("CaFile") or None, cadata=authority or None)
        _show_certificate(context, optional, secret)
    except (OSError, ValueError) as error:  # ssl's own errors are among them
        raise Invalid(f"MessageBus: the certificates cannot be used: {error}") from error
    if _flag(optional, "SkipCertVerify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _show_certificate(context: ssl.SSLContext, optional: Mapping[str, str], secret: Mapping[str, str]) -> None:
    certificate = secret.get("clientcert") or optional.get("CertPEMBlock")
    key = secret.get("clientkey") or optional.get("KeyPEMBlock")
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # readable by us alone; ssl takes nothing but files
            both = Path(folder, "client.pem")
            both.write_text(f"{certificate}\n{key}\n", encoding="ascii")
            context.load_cert_chain(both)
    elif optional.get("CertFile"):
        context.load_cert_chain(optional["CertFile"], optional.get("KeyFile") or None)


def _whole(optional: Mapping[str, str], key: str, default: int) -> int:
    text = optional.get(key) or str(default)
    if not text.isdecimal():
        raise Invalid(f"MessageBus.Optional.{key} '{text}' is no whole number")
    return int(text)


def _flag(optional: Mapping[str, str], key: str) -> bool:
    return optional.get(key, "").lower() == "true"

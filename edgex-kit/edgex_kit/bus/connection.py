"""Where the broker is, how to connect to it, and why that fails, in words for the person who has to fix it.

The section `MessageBus` of the configuration and its secret become `BusSettings`. No text holds a value of a secret:
secrets are named, and so is what they lack.
"""

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgex_kit.clients.secrets import Secrets
from edgex_kit.config.settings import Settings
from edgex_kit.wire.errors import Invalid

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
_OF_USERS = ("username", "password")


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Where the broker is and how to connect to it."""

    host: str = "localhost"
    port: int = 1883
    client_id: str = ""
    qos: int = 0
    retained: bool = False
    keep_alive: int = 10  # seconds
    connect_timeout: float = 5.0  # seconds
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)  # the source of all of these credentials
    secret_name: str = ""
    lacks: tuple[str, ...] = ()  # keys that the secret needs, and neither it nor Optional has

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def bus_settings(settings: Settings, secrets: Secrets, service: str) -> BusSettings:
    """The settings of a connection. Raises Invalid for what is not supported, NotFound for a missing secret."""
    section, optional = settings.message_bus, settings.message_bus.optional
    if section.type.lower() != "mqtt":
        raise Invalid(f"MessageBus.Type '{section.type}' is not known here; use mqtt")
    if section.auth_mode not in _NEEDS:
        raise Invalid(f"MessageBus.AuthMode '{section.auth_mode}' is none of {', '.join(_NEEDS)}")
    is_open = section.auth_mode == "none"
    secret = {} if is_open else secrets.get(section.secret_name)
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
        secret_name="" if is_open else section.secret_name,
        lacks=tuple(
            key for key in _NEEDS[section.auth_mode] if not secret.get(key) and not optional.get(_INSTEAD[key])
        ),
        tls=_tls(optional, secret) if section.protocol.lower() in ENCRYPTED else None,
    )


def why_unreachable(to: BusSettings, error: OSError | None) -> str:
    """No connection, or one that broke with `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker at {to.place} is not trusted: {error.verify_message.rstrip('.')}{_hint(to, but=_OF_USERS)}"
    if isinstance(error, ssl.SSLError):
        what = (error.reason or str(error)).replace("_", " ").lower()
        return f"no TLS with the broker at {to.place}: {what}{_hint(to, but=_OF_USERS)}"
    cause = "the connection was lost" if error is None else error.strerror or str(error)
    return f"no message broker at {to.place} ({cause})"


def why_unanswered(to: BusSettings, error: OSError | None) -> str:
    """A connection that ended before the broker accepted or refused it."""
    if isinstance(error, ssl.SSLError):
        return why_unreachable(to, error)
    guess = "it may want TLS (MessageBus.Protocol)" if to.tls is None else "it may want a client certificate"
    return f"the broker at {to.place} ends the connection before it answers; {guess}{_hint(to)}"


def why_unacknowledged(to: BusSettings, error: OSError) -> str:
    """A connection that we closed because acknowledgements of the broker are missing."""
    return f"the broker at {to.place} is connected, but {error}; they are sent again"


def why_silent(to: BusSettings, *, was_up: bool) -> str:
    """A connection that we closed because nothing arrived within the keep-alive time."""
    if was_up:
        return f"no message broker at {to.place} (Keep alive timeout)"
    return f"what listens at {to.place} does not answer within {to.keep_alive} s; it may be no message broker"


def why_refused(to: BusSettings, reason: str) -> str:
    """The broker answered with a refusal."""
    if to.secret.get("username"):
        who = f"the user of secret '{to.secret_name}'"
    else:
        who = "the user of MessageBus.Optional" if to.username else "a client without a user name"
    return f"the broker at {to.place} refuses {who}: {reason}{_hint(to)}"


def _hint(to: BusSettings, but: tuple[str, ...] = ()) -> str:
    lacks = [key for key in to.lacks if key not in but]
    return f"; the secret '{to.secret_name}' has no {' and no '.join(lacks)}" if lacks else ""


def _tls(optional: Mapping[str, str], secret: Mapping[str, str]) -> ssl.SSLContext:
    """Certificates from the secret, or from files and PEM texts that the configuration names."""
    authority = secret.get("cacert") or optional.get("CaPEMBlock")
    try:
        context = ssl.create_default_context(cafile=optional.get("CaFile") or None, cadata=authority or None)
        _load_certificate(context, optional, secret)
    except (OSError, ValueError) as error:  # ssl's own errors are among them
        raise Invalid(f"MessageBus: the certificates cannot be used: {error}") from error
    if _flag(optional, "SkipCertVerify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _load_certificate(context: ssl.SSLContext, optional: Mapping[str, str], secret: Mapping[str, str]) -> None:
    certificate = secret.get("clientcert") or optional.get("CertPEMBlock")
    key = secret.get("clientkey") or optional.get("KeyPEMBlock")
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # readable by us alone; ssl reads nothing but files
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

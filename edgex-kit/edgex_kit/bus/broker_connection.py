"""Where the broker is, how to enter it, and why that does not succeed, in words for who has to mend it.

No text holds a value of a secret: secrets are named, and so is what they lack.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

_OF_USERS = ("username", "password")


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Where the broker is and how to enter it."""

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
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)  # which all of these credentials came from
    secret_name: str = ""
    lacks: tuple[str, ...] = ()  # what the secret should hold to be of use, and neither it nor Optional does

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def why_unreachable(to: BusSettings, error: OSError | None) -> str:
    """No connection, or one that broke with `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker at {to.place} is not trusted: {error.verify_message.rstrip('.')}{_hint(to, but=_OF_USERS)}"
    if isinstance(error, ssl.SSLError):
        what = (error.reason or str(error)).replace("_", " ").lower()
        return f"no TLS with the broker at {to.place}: {what}{_hint(to, but=_OF_USERS)}"
    return f"no message broker at {to.place} ({_text(error)})"


def why_unanswered(to: BusSettings, error: OSError | None) -> str:
    """A connection that ended before the broker said whether we may enter."""
    if isinstance(error, ssl.SSLError):
        return why_unreachable(to, error)
    guess = "it may want TLS (MessageBus.Protocol)" if to.tls is None else "it may want a client certificate"
    return f"the broker at {to.place} ends the connection before it answers; {guess}{_hint(to)}"


def why_silent(to: BusSettings, *, was_up: bool) -> str:
    """A connection that we gave up, as nothing came for as long as keep-alive allows."""
    if was_up:
        return f"no message broker at {to.place} (Keep alive timeout)"
    return f"what listens at {to.place} does not answer within {to.keep_alive} s; it may be no message broker"


def why_refused(to: BusSettings, reason: str) -> str:
    """What the broker answered."""
    if to.secret.get("username"):
        who = f"the user of secret '{to.secret_name}'"
    else:
        who = "the user of MessageBus.Optional" if to.username else "who shows no user"
    return f"the broker at {to.place} refuses {who}: {reason}{_hint(to)}"


def _hint(to: BusSettings, but: tuple[str, ...] = ()) -> str:
    lacks = [key for key in to.lacks if key not in but]
    return f"; the secret '{to.secret_name}' has no {' and no '.join(lacks)}" if lacks else ""


def _text(error: OSError | None) -> str:
    return "the connection was lost" if error is None else error.strerror or str(error)

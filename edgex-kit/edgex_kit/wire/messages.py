"""The wire's messages: envelopes, events, readings, requests, replies, system events, metrics.

Field names and rules: go-mod-core-contracts dtos/*.go and go-mod-messaging pkg/types/message_envelope.go, v4.0.
Optional fields are left out of what we write when they are empty, as Go does; what must always be there has no default
or is written by `codec`.
"""

import os
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

API = "v3"
JSON = "application/json"
CBOR = "application/cbor"
TEXT = "text/plain"


_RANDOM = (1 << 128) - 1 - (0xF << 76) - (0x3 << 62)  # the bits of a UUID that version and variant leave free
_VERSION_4 = (4 << 76) | (2 << 62)  # RFC 9562, 5.4


def new_id() -> str:
    """A fresh UUID as EdgeX writes it; a result has eight, and Python's own takes twice as long."""
    digits = f"{int.from_bytes(os.urandom(16)) & _RANDOM | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Wire(Struct, rename="camel", kw_only=True, frozen=True):
    """A message that writes every field."""


class Sparse(Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """A message that leaves out optional fields that are empty."""


class Envelope(Wire, kw_only=True, frozen=True):
    """One message on the bus. `payload` is an object, base64 text, error text or None."""

    api_version: str = API
    received_topic: str = ""
    correlation_id: str = field(default="", name="correlationID")
    request_id: str = field(default="", name="requestID")
    error_code: int = 0
    payload: Any = None
    content_type: str = JSON
    query_params: dict[str, str] | UnsetType | None = UNSET


class Reading(Sparse, kw_only=True, frozen=True):
    """One value of one resource. Which value field is set depends on `value_type`; all None is a null reading."""

    id: str = ""
    origin: int | float = field()  # ns since the epoch; a float only from peers that lost digits
    device_name: str = field()
    resource_name: str = field()
    profile_name: str = ""
    value_type: str = field()
    units: str = ""
    tags: dict[str, Any] | None = None
    value: str | int | float | bool | UnsetType | None = UNSET
    binary_value: bytes | UnsetType | None = UNSET
    media_type: str = ""
    object_value: Any = UNSET


class Event(Sparse, kw_only=True, frozen=True):
    """Readings taken together from one device; names that EdgeX may leave out (after 4.0) are in the topic, too."""

    api_version: str = field()
    id: str = field()
    device_name: str = field()
    profile_name: str = ""
    source_name: str = ""
    origin: int | float = field()
    readings: tuple[Reading, ...] = field()
    tags: dict[str, Any] | None = None


class AddEventRequest(Wire, kw_only=True, frozen=True):
    """An event to be stored or analysed."""

    api_version: str = API
    request_id: str = ""
    event: Event = field()


class EventResponse(Sparse, kw_only=True, frozen=True):
    """The answer to a GET command."""

    api_version: str = field()
    request_id: str = ""
    message: str = ""
    status_code: int = field()
    event: Event = field()


class BaseResponse(Sparse, kw_only=True, frozen=True):
    """The answer of every call that returns no data."""

    api_version: str = field()
    request_id: str = ""
    message: str = ""
    status_code: int = field()
    id: str = ""


class SystemEvent(Wire, kw_only=True, frozen=True):
    """Something changed: a device, a profile, a watcher, a service, or a discovery made progress."""

    api_version: str = API
    type: str = field()
    action: str = field()
    source: str = field()
    owner: str = ""
    tags: dict[str, str] | None = None
    details: Any = None
    timestamp: int | float = 0


class MetricField(Wire, kw_only=True, frozen=True):
    """One number of a metric; its name says the kind, as in counter-count."""

    name: str
    value: int | float


class MetricTag(Wire, kw_only=True, frozen=True):
    """What the metric belongs to, such as its service or device."""

    name: str
    value: str


class Metric(Wire, kw_only=True, frozen=True):
    """One measured thing, published on edgex/telemetry/<service>/<name>."""

    api_version: str = API
    name: str = field()
    fields: tuple[MetricField, ...] = field()
    tags: tuple[MetricTag, ...] = ()
    timestamp: int = 0


class SecretData(Wire, kw_only=True, frozen=True):
    """One part of a secret. Its value must never be printed."""

    key: str
    value: str

    def __repr__(self) -> str:
        return f"SecretData(key={self.key!r})"


class SecretRequest(Wire, kw_only=True, frozen=True):
    """POST /secret. Its values must never be printed."""

    api_version: str = ""
    request_id: str = ""
    secret_name: str = ""
    secret_data: tuple[SecretData, ...] = ()

    def __repr__(self) -> str:
        return f"SecretRequest(secret_name={self.secret_name!r})"


class KeyValue(Struct, frozen=True, kw_only=True):
    """A key of the config provider as its change messages carry it; capital C and M are Go's."""

    key: str
    Created: int = 0
    Modified: int = 0
    value: Any = UNSET

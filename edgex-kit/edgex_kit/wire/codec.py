"""Bytes to messages and back, in every form EdgeX 4.0 puts on the bus.

Written by default: a JSON envelope whose payload is an inline object, or, for an event with a Binary reading, base64 of
CBOR. `Encoding` turns on the other forms by the environment variables that go-mod-messaging reads. A received message
is recognised by its first byte and by its payload's type, whatever our own setting is (go-mod-messaging,
pkg/types/message_envelope.go).

A frame is big and everything else is small, so the base64 text of a payload is never parsed as JSON and never becomes a
Python string: `_cut` takes it out of the envelope, and `encode_parts` sends it as a part of its own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack

import cbor2
import msgspec
import pybase64

from edgex_kit.wire.errors import Malformed, TooLarge
from edgex_kit.wire.messages import CBOR, JSON, TEXT, AddEventRequest, Envelope, Event, EventResponse, new_id

T = TypeVar("T")
Parts = tuple[bytes, ...]
"""A message in parts that follow each other."""

_KEYS = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(Envelope)}
_NAMES = frozenset(_KEYS.values())
_PAYLOAD_KEY = b'"payload":"'
_CUT = "~"  # replaces the payload that was cut out; no base64 character
_LARGE = 1024  # bytes; a smaller value is no part of its own
_MARK = os.urandom(16)  # replaces such a value in CBOR; unknown outside this process, so no sender can forge it


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which of EdgeX's forms this process writes."""

    cbor_envelope: bool = False  # EDGEX_MSG_CBOR_ENCODE: the whole envelope is CBOR (modules 4.0.3 and later)
    cbor_events: bool = False  # EDGEX_ENCODE_ALL_EVENTS_CBOR: events without Binary readings are CBOR too
    base64_json: bool = False  # EDGEX_MSG_BASE64_PAYLOAD: JSON payloads are base64 text, as in EdgeX 3

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Encoding":
        def on(name: str) -> bool:
            return environ.get(name, "").lower() == "true"

        return cls(on("EDGEX_MSG_CBOR_ENCODE"), on("EDGEX_ENCODE_ALL_EVENTS_CBOR"), on("EDGEX_MSG_BASE64_PAYLOAD"))


PLAIN = Encoding()


class _Options(TypedDict, total=False):
    correlation_id: str | None  # None: a new one
    request_id: str
    query_params: Mapping[str, str] | None
    encoding: Encoding
    limit_kb: int  # 0: none


def encode(body: Any, **options: Unpack[_Options]) -> bytes:
    """One message for the bus; `body` is a message, plain data, or None. Raises TooLarge over `limit_kb`."""
    return b"".join(encode_parts(body, **options))


def encode_parts(body: Any, **options: Unpack[_Options]) -> Parts:
    """The same in parts: a picture is copied once, into base64, and not again into the message."""
    correlation_id, query_params = options.get("correlation_id"), options.get("query_params")
    encoding, limit_kb = options.get("encoding", PLAIN), options.get("limit_kb", 0)
    wants_cbor = _wants_cbor(body, encoding)
    envelope = Envelope(
        correlation_id=new_id() if correlation_id is None else correlation_id,
        request_id=options.get("request_id", ""),
        content_type=CBOR if wants_cbor or encoding.cbor_envelope else JSON,
        query_params=dict(query_params) if query_params else msgspec.UNSET,
        payload="",
    )
    parts = _encode_as(envelope, body, wants_cbor, encoding)
    if limit_kb and (size := sum(map(len, parts))) > limit_kb * 1024:
        raise TooLarge(f"message size exceed limit({limit_kb} KB): it has {size} bytes")
    return parts


def encode_envelope(envelope: Envelope, *, cbor: bool) -> bytes:
    """An envelope that has its payload already, such as one that is passed on."""
    return cbor2.dumps(msgspec.to_builtins(envelope, builtin_types=(bytes,))) if cbor else msgspec.json.encode(envelope)


def encode_error(text: str, *, request_id: str, encoding: Encoding = PLAIN) -> bytes:
    """A refusal: plain text with a new correlation id, as EdgeX's Go services answer on the bus."""
    envelope = Envelope(correlation_id=new_id(), request_id=request_id, error_code=1, payload=text, content_type=TEXT)
    return encode_envelope(envelope, cbor=encoding.cbor_envelope)


def decode_envelope(data: bytes) -> Envelope:
    """The envelope; a long base64 payload stays a view of `data`. Raises Malformed, saying where and what."""
    if not data:
        raise Malformed("an empty message")
    try:
        if data[0] == 0x7B:  # {
            return _decode_json(data)
        if 0xA0 <= data[0] <= 0xBF:  # a CBOR map
            return _envelope_from(cbor2.loads(data))
    except (msgspec.MsgspecError, cbor2.CBORDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"no message envelope: {_cause(error)}") from error
    raise Malformed(f"no message envelope: the first byte is 0x{data[0]:02x}, neither a JSON object nor a CBOR map")


def decode_payload(envelope: Envelope) -> Any:
    """The payload as plain data, in whichever form it was sent. Raises Malformed."""
    payload = envelope.payload
    if not isinstance(payload, str | bytes | memoryview):
        return payload
    kind = _media_type(envelope.content_type)
    if kind not in (JSON, CBOR):
        raise Malformed(f"unsupported content type '{envelope.content_type}'")
    try:
        raw = payload if isinstance(payload, bytes) else pybase64.b64decode(payload, validate=True)
        return msgspec.json.decode(raw) if kind == JSON else cbor2.loads(raw)
    except (ValueError, msgspec.MsgspecError, cbor2.CBORDecodeError, RecursionError) as error:
        raise Malformed(f"payload is no base64 of {kind}: {_cause(error)}") from error


def payload_as(envelope: Envelope, kind: type[T]) -> T:
    """The payload as a message. Raises Malformed with the path of the first wrong field."""
    return convert(decode_payload(envelope), kind)


def event_of(envelope: Envelope) -> Event:
    """The event of an AddEventRequest, or a bare event, as EdgeX app services read it."""
    return event_from(decode_payload(envelope))


def event_from(value: Any) -> Event:
    """An event out of plain data, wrapped or bare."""
    if isinstance(value, dict) and "event" in value:
        value = value["event"]
    return convert(value, Event)


def convert(value: Any, kind: type[T]) -> T:
    """Plain data as a typed message. Raises Malformed with the path of the first wrong field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"no {kind.__name__}: {error}") from error


def encode_body(body: AddEventRequest | EventResponse, encoding: Encoding = PLAIN) -> tuple[str, bytes]:
    """Content type and bytes of an event in HTTP: CBOR with a Binary reading, JSON otherwise."""
    if _wants_cbor(body, encoding):
        return CBOR, cbor2.dumps(msgspec.to_builtins(body, builtin_types=(bytes,)))
    return JSON, msgspec.json.encode(body)


def encode_json(body: Any) -> bytes:
    """JSON of a message or plain data."""
    return msgspec.json.encode(body)


def decode_body(content_type: str, data: bytes) -> Any:
    """Plain data of an HTTP body. Raises Malformed."""
    try:
        return cbor2.loads(data) if _media_type(content_type) == CBOR else msgspec.json.decode(data)
    except (ValueError, msgspec.MsgspecError, cbor2.CBORDecodeError, RecursionError) as error:
        raise Malformed(f"the body is no {content_type or JSON}: {_cause(error)}") from error


def _wants_cbor(body: Any, encoding: Encoding) -> bool:
    """Whether EdgeX requires CBOR for this body: an event with a Binary reading."""
    if not isinstance(body, AddEventRequest | EventResponse):
        return False
    return encoding.cbor_events or any(isinstance(it.binary_value, bytes) for it in body.event.readings)


def _encode_as(envelope: Envelope, body: Any, wants_cbor: bool, encoding: Encoding) -> Parts:
    if encoding.cbor_envelope:
        return (encode_envelope(msgspec.structs.replace(envelope, payload=body), cbor=True),)
    if wants_cbor:
        return _around(envelope, _cbor(body))
    if encoding.base64_json and body is not None:
        return _around(envelope, (msgspec.json.encode(body),))
    return (encode_envelope(msgspec.structs.replace(envelope, payload=body), cbor=False),)


def _around(envelope: Envelope, payload: Parts) -> Parts:
    """The JSON envelope, whose own payload is "", with base64 of `payload` in that place."""
    around = msgspec.json.encode(envelope)
    at = around.index(_PAYLOAD_KEY) + len(_PAYLOAD_KEY)
    return around[:at], *_base64(payload), around[at:]


def _cbor(body: AddEventRequest | EventResponse) -> Parts:
    """CBOR of an event in one part, or the bytes before its only picture, the picture, and the bytes after it."""
    plain = msgspec.to_builtins(body, builtin_types=(bytes,))
    value = plain["event"]["readings"][0].get("binaryValue") if len(body.event.readings) == 1 else None
    if not isinstance(value, bytes) or len(value) < _LARGE:
        return (cbor2.dumps(plain),)
    plain["event"]["readings"][0]["binaryValue"] = _MARK
    before, _, behind = cbor2.dumps(plain).partition(_MARK)
    head = b"\x59" + len(value).to_bytes(2) if len(value) < 1 << 16 else b"\x5a" + len(value).to_bytes(4)
    return before[:-1] + head, value, behind  # the head of a byte string: RFC 8949, 3.1


def _base64(parts: Parts) -> Parts:
    """Base64 of one part, or of a picture and the bytes around it, as one text without padding inside.

    Three bytes are four characters, so the edge bytes of the picture are encoded with its neighbours.
    """
    if len(parts) == 1:
        return (pybase64.b64encode(parts[0]),)
    before, value, behind = parts
    begin = -len(before) % 3
    end = len(value) - (len(value) - begin) % 3
    middle = memoryview(value)[begin:end]
    return tuple(pybase64.b64encode(part) for part in (before + value[:begin], middle, value[end:] + behind))


def _decode_json(data: bytes) -> Envelope:
    cut = _cut(data)
    if cut is not None:
        around, payload = cut
        envelope = _envelope_from(msgspec.json.decode(around))
        if envelope.payload == _CUT:
            return msgspec.structs.replace(envelope, payload=payload)
    return _envelope_from(msgspec.json.decode(data))


def _cut(data: bytes) -> tuple[bytes, memoryview] | None:
    """The envelope without its payload text, and the text; None where it is short or escaped.

    Inside a JSON string every quote is escaped, so these bytes can only be a key with a text value; that it is the
    envelope's own key shows when the rest, with a mark in its place, decodes to that mark as payload.
    """
    start = data.find(_PAYLOAD_KEY) + len(_PAYLOAD_KEY)
    end = data.find(b'"', start)
    if start < len(_PAYLOAD_KEY) or end - start < 256 or data.find(b"\\", start, end) >= 0:
        return None
    return b"".join((data[:start], _CUT.encode(), data[end:])), memoryview(data)[start:end]


def _envelope_from(value: Any) -> Envelope:
    """As Go decodes it: keys in upper and lower case alike, and null for what is not there."""
    if isinstance(value, dict) and not (value.keys() <= _NAMES and None not in value.values()):
        value = {_KEYS.get(str(key).lower(), key): item for key, item in value.items() if item is not None}
    return msgspec.convert(value, Envelope)


def _cause(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip()

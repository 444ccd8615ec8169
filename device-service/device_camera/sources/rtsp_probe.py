"""Asks an RTSP server why it does not give a stream: FFmpeg only says that it did not work."""

import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgex_kit.wire.errors import Malformed

from device_camera.sources.factory import SourceOptions, SourceSpec, cause_from_error
from device_camera.sources.http_auth import build_authorization, parse_challenges

_PORT = 554
_PATIENCE = 3.0  # seconds; the stream was already waited for
_LONGEST_HEAD = 64 * 1024  # bytes
_STATUS = re.compile(r"RTSP/\d\.\d (\d{3}) ?(.*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status line and the one header that matters here."""

    status: int
    reason: str
    challenges: list[str]


def fetch_cause(spec: SourceSpec, options: SourceOptions) -> str:
    """Why the server does not give us the stream; "" when by its own words it would. Blocking."""
    try:
        answer = _describe(spec, options)
    except Malformed as error:
        return str(error)
    except UnicodeError:  # a host that cannot be a name: empty or too long labels
        return "host not found"
    except OSError as error:
        return cause_from_error(error)
    if answer.status in {401, 403}:
        hint = "" if options.credentials else ": it asks for a user, none is given"
        return f"authentication failed (RTSP {answer.status}){hint}"
    if answer.status == 404:
        return "no such stream (RTSP 404)"
    return f"RTSP {answer.status} {answer.reason}".rstrip() if answer.status >= 400 else ""


def parse_answer(head: bytes) -> Answer:
    """The head of an RTSP response. Raises Malformed when it is none."""
    first, *lines = head.decode("latin-1").splitlines() or [""]
    status = _STATUS.match(first)
    if not status:
        raise Malformed(f"not an RTSP server: it answers {first[:40]!r}")
    pairs = (line.partition(":") for line in lines)
    challenges = [value.strip() for name, _, value in pairs if name.strip().lower() == "www-authenticate"]
    return Answer(int(status[1]), status[2].strip(), challenges)


def _describe(spec: SourceSpec, options: SourceOptions) -> Answer:
    """DESCRIBE the stream, and once more with an answer to the challenge."""
    answer = _ask(spec, None)
    if answer.status != 401 or options.credentials is None:
        return answer
    offers = parse_challenges(answer.challenges)
    authorization = build_authorization(offers, "DESCRIBE", spec.location, options.credentials)
    return answer if authorization is None else _ask(spec, authorization)


def _ask(spec: SourceSpec, authorization: str | None) -> Answer:
    parts = urlsplit(spec.location)
    request = [
        f"DESCRIBE {spec.location} RTSP/1.0",
        "CSeq: 1",
        "Accept: application/sdp",
        "User-Agent: edgex-device-camera",
    ]
    if authorization:
        request.append(f"Authorization: {authorization}")
    with socket.create_connection((parts.hostname or "", parts.port or _PORT), _PATIENCE) as connection:
        connection.sendall("\r\n".join([*request, "", ""]).encode())
        return parse_answer(_head(connection))


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
        data = connection.recv(4096)
        if not data:
            break
        head += data
    if not head:
        raise Malformed("not an RTSP server: it closed the connection without an answer")
    return head

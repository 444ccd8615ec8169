"""Errors with EdgeX's status codes; the REST API and the bus API answer with them.

EdgexError
├── Invalid        what was asked is wrong (400)
├── Malformed      bytes that are no message we know (400)
├── Unauthorized   no or a wrong token (401)
├── Forbidden      a token that may not do that, or that has ended (403)
├── NotFound       the named thing does not exist (404)
├── NotAllowed     a read of a write-only resource, or the reverse (405)
├── Conflict       it exists already, or is in use (409)
├── TooLarge       over MaxRequestSize or MaxEventSize (413)
├── UnsupportedMedia  a body of a type that is not read (415)
├── OutOfRange     an offset behind the end (416)
├── Locked         adminState LOCKED, operatingState DOWN, no profile (423)
├── DriverFailed   the device did not do it (500)
│   └── AssertionBroken  its reading differs from its profile's assertion (500, and the device is DOWN)
├── Unsupported    this device or service cannot do that (501)
├── Unreachable    another service did not answer (502)
├── Unavailable    not now: disabled, starting, no broker (503)
└── TimedOut       no answer in time (503)

Status codes: go-mod-core-contracts errors/types.go.
"""

from typing import ClassVar


class EdgexError(Exception):
    """Something EdgeX has a status code for; its text names the thing and the cause."""

    status: ClassVar[int] = 500


class Invalid(EdgexError):
    status = 400


class Malformed(EdgexError):
    status = 400


class Unauthorized(EdgexError):
    status = 401


class Forbidden(EdgexError):
    status = 403


class NotFound(EdgexError):
    status = 404


class NotAllowed(EdgexError):
    status = 405


class Conflict(EdgexError):
    status = 409


class TooLarge(EdgexError):
    status = 413


class UnsupportedMedia(EdgexError):
    status = 415


class OutOfRange(EdgexError):
    status = 416


class Locked(EdgexError):
    status = 423


class DriverFailed(EdgexError):
    status = 500


class AssertionBroken(DriverFailed):
    """A reading that contradicts its resource's `assertion`; the service sets the device DOWN."""


class Unsupported(EdgexError):
    status = 501


class Unreachable(EdgexError):
    status = 502


class Unavailable(EdgexError):
    status = 503


class TimedOut(EdgexError):
    status = 503


def cause_of(error: Exception) -> str:
    """What went wrong, in the system's words without its number: `No such file or directory`."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


_BY_STATUS: dict[int, type[EdgexError]] = {
    kind.status: kind
    for kind in (
        Invalid,
        Unauthorized,
        Forbidden,
        NotFound,
        NotAllowed,
        Conflict,
        TooLarge,
        UnsupportedMedia,
        OutOfRange,
        Locked,
        Unsupported,
        Unreachable,
        Unavailable,
    )
}


def error_from_status(status: int, text: str) -> EdgexError:
    """The error of another service's HTTP status; an unknown status is a failure of that service."""
    return _BY_STATUS.get(status, DriverFailed)(text)

"""The plain words for why a file, a device node or a connection did not open."""

import socket
import ssl

_CAUSES: dict[type[OSError], str] = {
    FileNotFoundError: "no such file",
    PermissionError: "permission denied",
    ConnectionRefusedError: "connection refused",
    TimeoutError: "timed out",
    socket.gaierror: "host not found",
}


def cause_from_error(error: OSError) -> str:
    """A cause without file names, URLs or error numbers, such as "connection refused"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    for kind, words in _CAUSES.items():
        if isinstance(error, kind):
            return words
    return (error.strerror or str(error) or type(error).__name__).lower()

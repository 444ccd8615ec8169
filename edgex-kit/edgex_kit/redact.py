"""Keeps secrets out of every text a person or another service may read."""

import re
from collections.abc import Iterable

MASK = "***"
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.\-]*://)[^/?#\s]+@")
_QUERY = re.compile(r"(?P<name>[?&](?:password|passwd|pwd|token|key|secret|auth)=)[^&\s]+", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without URL credentials, secret-looking query values, and any of `secrets`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    return _QUERY.sub(rf"\g<name>{MASK}", text)

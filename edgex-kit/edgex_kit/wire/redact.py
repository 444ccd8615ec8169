"""Keeps secrets out of every text a person or another service may read."""

import re
from collections.abc import Iterable

MASK = "***"
# People write passwords with `/`, `#`, `?` and `@` into URLs, and cameras take them: with a colon before it, everything
# up to the last `@` is masked, even where that takes too much away.
_USERINFO = re.compile(r"""(?P<scheme>[a-z][a-z0-9+.\-]*://)(?:[^/\s"'<>]*:[^\s"'<>]*|[^/?#\s"'<>]+)@""", re.IGNORECASE)
_NAMES = "password|passwd|passwort|pass|pwd|psw|pw|token|key|apikey|api_key|secret|auth|loginpas|sig|signature"
_QUERY = re.compile(rf"(?P<name>[?&;](?:{_NAMES})=)[^&;\s]+", re.IGNORECASE)
_SHORT = 6  # a shorter secret is masked as a whole word only: "cam" is no secret inside "camera"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without URL credentials, secret-looking query values, and any of `secrets`."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) >= _SHORT:
            text = text.replace(secret, MASK)
        elif secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    return _QUERY.sub(rf"\g<name>{MASK}", text)

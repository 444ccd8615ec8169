"""Texts that people and other services read: without secrets, of bounded length, on one line.

Every function takes time in proportion to the length of its text, whatever the text is.
"""

import re
from collections.abc import Iterable

MASK = "***"
LIMIT = 2048  # characters of a text
_WORD_LIMIT = 256  # characters of a word, such as a name that somebody sent
_SHORT = 6  # a shorter secret is masked as a whole word only: "cam" is no secret inside "camera"

_WORD = re.compile(r"""[^\s"'<>]+""")
_NAMES = "password|passwd|passwort|pass|pwd|psw|pw|token|key|apikey|api_key|secret|auth|loginpas|sig|signature"
_QUERY = re.compile(rf"(?P<name>[?&;](?:{_NAMES})=)[^&;\s]+", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = (), limit: int = LIMIT) -> str:
    """`text` without URL credentials, secret-looking query values and any of `secrets`, of at most about `limit`
    characters; a longer word, such as a name, is shortened, so that the rest of the message stays."""
    known = sorted(filter(None, secrets), key=len, reverse=True)
    length, most = len(text), 64 * limit  # masks and shortened words make a text shorter
    if length > most:
        text = text[:most]
    for secret in known:
        if len(secret) >= _SHORT:
            text = text.replace(secret, MASK)
        elif secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    if length > most:  # the cut may have gone through a secret, or through the credentials of a URL
        text = text[: -len(known[0])] if known else text
        head, space, word = text.rpartition(" ")
        text = head + space + word.partition("://")[0]
    if "://" in text or len(text) > _WORD_LIMIT:
        text = _WORD.sub(lambda word: _shortened(_without_userinfo(word[0])), text)
    text = _QUERY.sub(rf"\g<name>{MASK}", text)
    return text if len(text) <= limit else f"{text[:limit]}... ({length} characters)"


def printable(text: str) -> str:
    """`text` on one line: what is not printable is escaped, so that no sender can forge a line or move a cursor."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode("ascii") for it in text)


def _without_userinfo(word: str) -> str:
    """`word` with the credentials of its URLs masked.

    People write passwords with `/`, `#`, `?` and `@` into URLs, and cameras take them: with a colon before it,
    everything up to the last `@` is masked, even where that masks too much.
    """
    at, last = word.find("://"), word.rfind("@")
    while 0 <= at < last:
        begin = at + 3
        slash = word.find("/", begin)
        end = len(word) if slash < 0 else slash
        if word[:at][-1:].isalnum():
            if word.find(":", begin, min(end, last)) >= 0:
                return f"{word[:begin]}{MASK}{word[last:]}"
            host = min((it for it in (word.find(mark, begin, end) for mark in "?#") if it >= 0), default=end)
            if (user := word.rfind("@", begin, host)) > begin:
                word = f"{word[:begin]}{MASK}{word[user:]}"
                begin, last = begin + len(MASK) + 1, word.rfind("@")
        at = word.find("://", begin)
    return word


def _shortened(word: str) -> str:
    return word if len(word) <= _WORD_LIMIT else f"{word[:_WORD_LIMIT]}...({len(word)} characters)"

"""Which version is meant: one by its number, the newest, a range of numbers, or what an alias stands for. Pure.

Ranges are written as package managers write them: `^1.2.0` is 1.2.0 and later below 2, `^0.2.0` below 0.3, `~1.2.0`
below 1.3, and `>=1.0.0 <2.0.0` all of its parts. A pre-release is in no range, and the newest only where there is
nothing else.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence

from edgex_kit.wire.errors import Invalid, NotFound

from app_inference.errors import ModelRejected
from app_inference.models.manifest import VersionKey, version_key

LATEST = "latest"
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_PART = re.compile(r"(\^|~|>=|<=|>|<|=)\s*(\S+)")
_COMPARE: Mapping[str, Callable[[VersionKey, VersionKey], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


def chosen(wanted: str, versions: Sequence[str], aliases: Mapping[str, str]) -> str:
    """The one of `versions` that `wanted` means; raises NotFound for none, Invalid for what is no way to say it."""
    if wanted in versions:
        return wanted
    if wanted == LATEST:
        return _newest(wanted, versions)
    if wanted in aliases:
        return chosen(aliases[wanted], versions, {})
    if _is_version(wanted):
        raise NotFound(f"no version {wanted!r}; there are {', '.join(versions) or 'none'}")
    if _ALIAS.fullmatch(wanted):
        raise NotFound(f"no alias {wanted!r}; there are {', '.join([LATEST, *sorted(aliases)])}")
    within = [version for version in versions if _is_within(version, wanted)]
    if not within:
        raise NotFound(f"no version is {wanted!r}; there are {', '.join(versions) or 'none'}")
    return _newest(wanted, within)


def is_floating(wanted: str) -> bool:
    """Whether what is meant may change while the wish stays."""
    return not _is_version(wanted)


def check_alias(alias: str) -> None:
    """Raise Invalid for a name that could be taken for something else."""
    if alias == LATEST or not _ALIAS.fullmatch(alias):
        raise Invalid(f"alias {alias!r}: a letter, then letters, digits, _ and - expected, and not {LATEST!r}")


def _newest(wanted: str, versions: Sequence[str]) -> str:
    released = [version for version in versions if version_key(version)[3]]
    found = sorted(released or versions, key=version_key)
    if not found:
        raise NotFound(f"no version is {wanted!r}")
    return found[-1]


def _is_within(version: str, wanted: str) -> bool:
    key = version_key(version)
    return key[3] and all(compare(key, limit) for compare, limit in _limits(wanted))


def _limits(wanted: str) -> list[tuple[Callable[[VersionKey, VersionKey], bool], VersionKey]]:
    parts = _PART.findall(wanted)
    if not parts or _PART.sub("", wanted).strip(" ,"):
        raise Invalid(
            f"version {wanted!r}: 1.2.3, {LATEST}, an alias, or a range such as ^1.2.0, ~1.2.0, >=1.0.0 <2.0.0"
        )
    limits = []
    for sign, text in parts:
        try:
            low = version_key(text.rstrip(","))
        except ModelRejected as error:
            raise Invalid(f"version {wanted!r}: {error}") from error
        if sign in _COMPARE:
            limits.append((_COMPARE[sign], low))
        else:
            limits += [(operator.ge, low), (operator.lt, _ceiling(sign, *low[:3]))]
    return limits


def _ceiling(sign: str, major: int, minor: int, patch: int) -> VersionKey:
    """What is no longer meant by `~` and `^`; before 1.0.0 a minor release may break as a major one does after it."""
    if sign == "^" and major:
        return major + 1, 0, 0, False, ()
    if sign == "^" and not minor:
        return 0, 0, patch + 1, False, ()
    return major, minor + 1, 0, False, ()


def _is_version(text: str) -> bool:
    try:
        version_key(text)
    except ModelRejected:
        return False
    return True

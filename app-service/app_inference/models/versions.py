"""Version numbers: which are valid, their order, and which one a range, an alias or `latest` means. Pure.

Versions follow https://semver.org; a single number, as model servers name their version folders, stands for the first
of the three. Ranges are npm's: `^1.2.0`, `~1.2.0`, `>=1.0.0 <2.0.0`. No range contains a pre-release, and `latest` is
one only where there is nothing else.
"""

import re
from collections.abc import Mapping, Sequence

from edgex_kit.wire.errors import Invalid, NotFound
from semantic_version import NpmSpec, Version

from app_inference.errors import ModelRejected

LATEST = "latest"
_TEXT = re.compile(r"[0-9A-Za-z.+-]{1,128}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RANGE = re.compile(r"(?=.*[0-9])[0-9A-Za-z.+<>=~^*| -]{1,128}")
_SPACE_AFTER_SIGN = re.compile(r"(?<=[<>=~^])\s+")


def parse_version(text: str) -> Version:
    """Comparable by precedence; raises ModelRejected for what is no version."""
    try:
        if _TEXT.fullmatch(text):
            return Version(f"{int(text)}.0.0" if _NUMBER.fullmatch(text) else text)
    except ValueError:
        pass
    raise ModelRejected(f"version {text[:80]!r} is not of the form 1.2.3, 1.2.3-rc.1 or 3")


def is_version(text: str) -> bool:
    """Whether it is one version's number."""
    try:
        parse_version(text)
    except ModelRejected:
        return False
    return True


def newest(versions: Sequence[str]) -> str | None:
    """The newest version that is no pre-release, or the newest pre-release; None without any."""
    ordered = sorted(versions, key=parse_version)
    released = [version for version in ordered if not parse_version(version).prerelease]
    return next(reversed(released or ordered), None)


def chosen(wanted: str, versions: Sequence[str], aliases: Mapping[str, str]) -> str:
    """The one of `versions` that `wanted` means; raises NotFound for none, Invalid where it has no meaning."""
    if wanted in aliases and wanted not in versions:
        return chosen(aliases[wanted], versions, {})
    if wanted in versions:
        return wanted
    there = ", ".join(versions) or "none"
    if is_version(wanted):
        raise NotFound(f"no version {wanted!r}; there are {there}")
    if wanted != LATEST and _ALIAS.fullmatch(wanted):
        raise NotFound(f"no alias {wanted!r}; there are {', '.join([LATEST, *sorted(aliases)])}")
    found = newest(versions if wanted == LATEST else _within(wanted, versions))
    if found is None:
        raise NotFound(f"no version is {wanted!r}; there are {there}")
    return found


def check_alias(alias: str) -> None:
    """Raise Invalid for a name that could be taken for something else."""
    if alias == LATEST or not _ALIAS.fullmatch(alias):
        raise Invalid(f"alias {alias!r}: a letter, then letters, digits, _ and - expected, and not {LATEST!r}")


def _within(wanted: str, versions: Sequence[str]) -> list[str]:
    """The versions in a range; raises Invalid."""
    text = " ".join(wanted.replace(",", " ").split())
    try:
        limits = NpmSpec(_SPACE_AFTER_SIGN.sub("", text) if _RANGE.fullmatch(text) else "?")
    except ValueError as error:
        forms = f"1.2.3, {LATEST}, an alias, or a range such as ^1.2.0, ~1.2.0, >=1.0.0 <2.0.0"
        raise Invalid(f"version {wanted[:80]!r}: {forms}") from error
    parsed = ((version, parse_version(version)) for version in versions)
    return [version for version, it in parsed if not it.prerelease and it in limits]

"""Answers to the authentication challenges of HTTP and RTSP: Basic (RFC 7617) and Digest (RFC 7616, 2069)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from device_camera.sources.base import Credentials

_WORD = re.compile(
    r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))|([A-Za-z][A-Za-z0-9_-]*)'
)  # parameter|scheme
_STRENGTH = ("SHA-256", "MD5")  # the best first


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way a server offers."""

    scheme: str  # basic or digest
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All offers of the WWW-Authenticate headers, each of which may hold several."""
    found: list[Challenge] = []
    for header in headers:
        for name, quoted, plain, scheme in _WORD.findall(header):
            if scheme:
                found.append(Challenge(scheme.lower(), {}))
            elif found:
                found[-1].parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
    return found


def build_authorization(challenges: list[Challenge], method: str, uri: str, login: Credentials) -> str | None:
    """The Authorization header for the strongest offer; None when there is none we know."""
    for algorithm in _STRENGTH:
        for challenge in challenges:
            if challenge.scheme == "digest" and _algorithm(challenge) == algorithm:
                return _digest(challenge.parameters, method, uri, login)
    if any(challenge.scheme == "basic" for challenge in challenges):
        return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return None


def _algorithm(challenge: Challenge) -> str:
    return challenge.parameters.get("algorithm", "MD5").upper()


def _digest(offer: dict[str, str], method: str, uri: str, login: Credentials) -> str:
    sign = _sha256 if offer.get("algorithm", "MD5").upper() == "SHA-256" else _md5
    realm, nonce = offer.get("realm", ""), offer.get("nonce", "")
    who, what = sign(f"{login.user}:{realm}:{login.password}"), sign(f"{method}:{uri}")
    answer = {"username": login.user, "realm": realm, "nonce": nonce, "uri": uri}
    plain = {key: offer[key] for key in ("algorithm",) if key in offer}
    if "auth" in re.split(r"\s*,\s*", offer.get("qop", "")):
        once = secrets.token_hex(8)
        answer |= {"cnonce": once, "response": sign(f"{who}:{nonce}:00000001:{once}:auth:{what}")}
        plain |= {"qop": "auth", "nc": "00000001"}
    else:
        answer["response"] = sign(f"{who}:{nonce}:{what}")
    answer |= {key: offer[key] for key in ("opaque",) if key in offer}
    quoted = [f'{name}="{_escaped(value)}"' for name, value in answer.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in plain.items()])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what the protocol names


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

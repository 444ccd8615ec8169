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
_HASHES = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}  # the best first; each also with -sess


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way a server offers."""

    scheme: str  # basic or digest
    parameters: dict[str, str]

    @property
    def algorithm(self) -> str:
        """Of Digest, in upper case."""
        return self.parameters.get("algorithm", "MD5").upper()

    def __str__(self) -> str:
        return f"{self.scheme.title()} {self.algorithm}" if self.scheme == "digest" else self.scheme.title()


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
    for name in _HASHES:
        for challenge in challenges:
            if challenge.scheme == "digest" and challenge.algorithm.removesuffix("-SESS") == name:
                return _digest(challenge, method, uri, login)
    if any(challenge.scheme == "basic" for challenge in challenges):
        return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return None


def _digest(challenge: Challenge, method: str, uri: str, login: Credentials) -> str:
    offer, once = challenge.parameters, secrets.token_hex(8)
    name = _HASHES[challenge.algorithm.removesuffix("-SESS")]

    def sign(text: str) -> str:
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()  # what the protocol names

    realm, nonce = offer.get("realm", ""), offer.get("nonce", "")
    who, what = sign(f"{login.user}:{realm}:{login.password}"), f"{method}:{uri}"
    is_session = challenge.algorithm.endswith("-SESS")
    if is_session:
        who = sign(f"{who}:{nonce}:{once}")
    answer = {"username": login.user, "realm": realm, "nonce": nonce, "uri": uri}
    plain = {key: offer[key] for key in ("algorithm",) if key in offer}
    offered = re.split(r"\s*,\s*", offer.get("qop", "").strip().lower())
    if qop := next((one for one in ("auth", "auth-int") if one in offered), ""):
        what = sign(f"{what}:{sign('')}" if qop == "auth-int" else what)  # our requests have no body
        answer |= {"cnonce": once, "response": sign(f"{who}:{nonce}:00000001:{once}:{qop}:{what}")}
        plain |= {"qop": qop, "nc": "00000001"}
    else:
        answer["response"] = sign(f"{who}:{nonce}:{sign(what)}")
        if is_session:
            answer["cnonce"] = once
    answer |= {key: offer[key] for key in ("opaque",) if key in offer}
    quoted = [f'{name}="{_escaped(value)}"' for name, value in answer.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in plain.items()])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')

"""core-keeper: configuration provider and registry."""

import base64
from typing import Any
from urllib.parse import urlsplit

from edgex_kit.clients.http import HttpClient, Identify
from edgex_kit.wire.errors import Conflict, Malformed, NotFound, Unavailable
from edgex_kit.wire.topics import escape_name

ROOT = "edgex/v4"
COMMON = f"{ROOT}/core-common-config-bootstrapper"


class Keeper:
    """A client of core-keeper."""

    def __init__(self, url: str, *, wait: float = 5.0, identify: Identify = dict) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "localhost", parts.port or 59890
        self._http = HttpClient(url, name="core-keeper", wait=wait, identify=identify)

    async def ping(self) -> None:
        """Raises Unreachable while core-keeper does not answer."""
        await self._http.fetch("/api/v3/ping", "serviceName")

    async def values(self, prefix: str, *, plaintext: bool = True) -> dict[str, str]:
        """Every key at or below `prefix` with its value as text; empty when there is none.

        core-keeper sends them in base64 unless it is asked for `plaintext`. Raises Malformed for what is no text then.
        """
        try:
            pairs = await self._http.fetch(_path(prefix), "response", params={"plaintext": str(plaintext).lower()})
        except NotFound:
            return {}
        return {pair["key"]: str(pair["value"]) if plaintext else _text(pair) for pair in pairs}

    async def services(self) -> set[str]:
        """The services that have keys."""
        params = {"keyOnly": "true"}
        try:
            found = await self._http.fetch(_path(ROOT), "response", params=params)
        except NotFound:
            return set()
        keys = [str(it.get("key", "")) if isinstance(it, dict) else str(it) for it in found]
        return {key.removeprefix(f"{ROOT}/").partition("/")[0] for key in keys if key.startswith(f"{ROOT}/")}

    async def put(self, key: str, value: str) -> None:
        """Store one value as text."""
        body = {"apiVersion": "v3", "requestId": "", "value": value}
        await self._http.call("PUT", _path(key), body=body, params={"flatten": "false"})

    async def delete(self, key: str) -> None:
        """Remove `key` and all keys below it. Raises NotFound when there are none."""
        await self._http.call("DELETE", _path(key), params={"prefixMatch": "true"})

    async def register(self, service: str, host: str, port: int, interval: str) -> None:
        """Register the address and the health check of `service`: POST the first time, PUT after."""
        body = _registration(service, host, port, interval)
        try:
            await self._http.call("GET", f"/api/v3/registry/serviceId/{escape_name(service)}")
        except NotFound:
            try:
                await self._http.call("POST", "/api/v3/registry", body=body)
                return
            except Conflict:  # another replica registered first
                pass
        await self._http.call("PUT", "/api/v3/registry", body=body)

    async def deregister(self, service: str, host: str, port: int, interval: str) -> None:
        """Mark `service` as stopped: HALT."""
        body = _registration(service, host, port, interval)
        body["registration"]["status"] = "HALT"
        await self._http.call("PUT", "/api/v3/registry", body=body)

    async def find(self, service: str) -> str:
        """The URL of a service that is UP. Raises Unavailable when it is not, NotFound when it is unknown."""
        entry = await self._http.fetch(f"/api/v3/registry/serviceId/{escape_name(service)}", "registration")
        status = str(entry.get("status", "UNKNOWN")).upper()
        if status != "UP":
            raise Unavailable(f"{service} is {'unregistered' if status == 'HALT' else 'not healthy'} in the registry")
        check = entry.get("HealthCheck") or entry.get("healthCheck") or {}
        return f"{check.get('type') or 'http'}://{entry['host']}:{entry['port']}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _text(pair: dict[str, Any]) -> str:
    try:
        return base64.b64decode(pair["value"], validate=True).decode()
    except (ValueError, TypeError) as error:  # no base64, no UTF-8; no text at all
        raise Malformed(f"core-keeper's value of '{pair['key']}' is no text in base64") from error


def _path(key: str) -> str:
    return f"/api/v3/kvs/key/{escape_name(key)}"


def _registration(service: str, host: str, port: int, interval: str) -> dict[str, Any]:
    check = {"interval": interval, "path": "/api/v3/ping", "type": "http"}
    entry = {"serviceId": service, "host": host, "port": port, "HealthCheck": check}
    return {"apiVersion": "v3", "registration": entry}

"""core-metadata: devices, profiles, services and watchers, over HTTP."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from edgex_kit.clients.http import HttpClient, Identify
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, ProvisionWatcher
from edgex_kit.wire.errors import EdgexError, NotFound, error_from_status
from edgex_kit.wire.topics import escape_name

T = TypeVar("T")
_ALL = {"offset": "0", "limit": "-1"}
Locate = Callable[[], Awaitable[str]]


class Metadata:
    """A client of core-metadata; `locate` gives its URL anew for each call (the registry's, or a fixed one)."""

    def __init__(self, locate: Locate, *, escape: bool = False, wait: float = 10.0, identify: Identify = dict) -> None:
        self._locate = locate
        self._escape = escape
        self._wait = wait
        self._identify = identify
        self._http: HttpClient | None = None

    async def version(self) -> str:
        """core-metadata's own version."""
        return str(await self._fetch("/api/v3/version", "version"))

    async def devices(self) -> list[Device]:
        """All devices of all services."""
        found = await self._fetch("/api/v3/device/all", "devices", params=_ALL)
        return [convert(device, Device) for device in found or ()]

    async def devices_of(self, service: str) -> list[Device]:
        """All devices of a device service."""
        found = await self._fetch(f"/api/v3/device/service/name/{self._name(service)}", "devices", params=_ALL)
        return [convert(device, Device) for device in found or ()]

    async def device(self, name: str) -> Device:
        """Raises NotFound."""
        return convert(await self._fetch(f"/api/v3/device/name/{self._name(name)}", "device"), Device)

    async def profile(self, name: str) -> DeviceProfile:
        """Raises NotFound."""
        return convert(await self._fetch(f"/api/v3/deviceprofile/name/{self._name(name)}", "profile"), DeviceProfile)

    async def watchers_of(self, service: str) -> list[ProvisionWatcher]:
        """All provision watchers of a device service."""
        path = f"/api/v3/provisionwatcher/service/name/{self._name(service)}"
        found = await self._fetch(path, "provisionWatchers", params=_ALL)
        return [convert(watcher, ProvisionWatcher) for watcher in found or ()]

    async def service(self, name: str) -> DeviceService | None:
        """The record of a device service, or None."""
        try:
            found = await self._fetch(f"/api/v3/deviceservice/name/{self._name(name)}", "service")
        except NotFound:
            return None
        return convert(found, DeviceService)

    async def put_service(self, service: DeviceService) -> DeviceService:
        """Create our record, or bring its address and labels up to date.

        Unlike device-sdk-go, `adminState` of an existing record is left as it is: an administrator who locked the
        service wants it locked after a restart too.
        """
        known = await self.service(service.name)
        if known is None:
            await self._each("POST", "/api/v3/deviceservice", "service", [service])
            return service
        fields = {"name": service.name, "baseAddress": service.base_address, "labels": list(service.labels or ())}
        await self._each("PATCH", "/api/v3/deviceservice", "service", [fields])
        return msgspec.structs.replace(service, admin_state=known.admin_state)

    async def add_profiles(self, profiles: Sequence[DeviceProfile]) -> None:
        """Add what is not there yet."""
        await self._each("POST", "/api/v3/deviceprofile", "profile", profiles, fine=(201, 409))

    async def put_profile(self, profile: DeviceProfile) -> None:
        """Replace a profile with a newer one."""
        await self._each("PUT", "/api/v3/deviceprofile", "profile", [profile])

    async def add_devices(self, devices: Sequence[Device], *, bypass_validation: bool = False) -> None:
        """Add what is not there yet; unless `bypass_validation`, core-metadata has its service validate each one."""
        params = {"bypassValidation": "true"} if bypass_validation else None
        await self._each("POST", "/api/v3/device", "device", devices, params=params, fine=(201, 409))

    async def add_watchers(self, watchers: Sequence[ProvisionWatcher]) -> None:
        """Add what is not there yet."""
        await self._each("POST", "/api/v3/provisionwatcher", "provisionWatcher", watchers, fine=(201, 409))

    async def patch_device(self, name: str, **fields: Any) -> None:
        """Change some fields of a device. Our own changes need no validation by ourselves."""
        params = {"bypassValidation": "true"}
        await self._each("PATCH", "/api/v3/device", "device", [{"name": name, **fields}], params=params)

    async def delete_device(self, name: str) -> None:
        """Raises NotFound, and Conflict when it has child devices."""
        await self._call("DELETE", f"/api/v3/device/name/{self._name(name)}")

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    async def _each(
        self,
        method: str,
        path: str,
        key: str,
        items: Sequence[Any],
        *,
        params: dict[str, str] | None = None,
        fine: tuple[int, ...] = (200, 201),
    ) -> None:
        """Send several items; the first refusal among the answers is raised with the item's own status and text."""
        if not items:
            return
        body = [{"apiVersion": "v3", key: item} for item in items]
        answers = await self._call(method, path, body=body, params=params)
        for item, answer in zip(items, answers or (), strict=False):
            if answer["statusCode"] not in fine:
                name = item["name"] if isinstance(item, dict) else item.name
                raise _refusal(answer, name)

    async def _fetch(self, path: str, key: str, *, params: dict[str, str] | None = None) -> Any:
        return await (await self._client()).fetch(path, key, params=params)

    async def _call(self, method: str, path: str, *, body: Any = None, params: dict[str, str] | None = None) -> Any:
        return await (await self._client()).call(method, path, body=body, params=params)

    async def _client(self) -> HttpClient:
        url = await self._locate()
        if self._http is None or self._http.base_url != url:
            self.close()
            self._http = HttpClient(url, name="core-metadata", wait=self._wait, identify=self._identify)
        return self._http

    def _name(self, name: str) -> str:
        return escape_name(name) if self._escape else quote(name, safe="")


def _refusal(answer: dict[str, Any], name: str) -> EdgexError:
    return error_from_status(answer["statusCode"], f"core-metadata refused '{name}': {answer.get('message', '')}")

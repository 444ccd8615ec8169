"""FriendlyName and CustomMetadata of a camera, stored by core-metadata in the device's protocols.

The keys are device-onvif-camera's: protocols.<camera protocol>.FriendlyName and protocols.CustomMetadata.
"""

from collections.abc import Mapping
from typing import Any

from edgex_kit.clients.metadata import Metadata
from edgex_kit.device.cache import Devices
from edgex_kit.wire.devices import Device

from device_camera.settings import FREE_FORM, PROTOCOL

_NAME = "FriendlyName"


class Notes:
    """Reads from the cached device, writes to core-metadata; the cache changes with the system event that follows."""

    def __init__(self, metadata: Metadata, devices: Devices) -> None:
        self._metadata = metadata
        self._devices = devices

    @staticmethod
    def friendly_name(device: Device) -> str:
        return str(device.protocols.get(PROTOCOL, {}).get(_NAME, ""))

    @staticmethod
    def custom_metadata(device: Device) -> dict[str, Any]:
        return dict(device.protocols.get(FREE_FORM, {}))

    async def put_friendly_name(self, name: str, text: str) -> None:
        """Store it. Raises what core-metadata answers."""
        await self._put(name, PROTOCOL, {_NAME: text})

    async def put_custom_metadata(self, name: str, values: Mapping[str, Any]) -> None:
        """Merge these keys into those that are there; an empty value removes its key."""
        await self._put(name, FREE_FORM, values)

    async def _put(self, name: str, protocol: str, changes: Mapping[str, Any]) -> None:
        """Read all protocols first: PATCH of core-metadata's /device replaces them at once."""
        device = await self._metadata.device(name)
        properties = {**device.protocols.get(protocol, {}), **changes}
        kept = {key: value for key, value in properties.items() if value not in ("", None)}
        protocols = {**device.protocols, protocol: kept}
        await self._metadata.patch_device(name, protocols=protocols)

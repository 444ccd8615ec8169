"""What people write on a camera, kept by core-metadata in the device's protocols: FriendlyName and CustomMetadata.

The places are device-onvif-camera's: protocols.<camera protocol>.FriendlyName and protocols.CustomMetadata.
"""

from collections.abc import Mapping
from typing import Any

from edgex_kit.clients.metadata import Metadata
from edgex_kit.device.cache import Devices
from edgex_kit.wire.devices import Device

from device_camera.protocols import FREE_FORM, PROTOCOL

_NAME = "FriendlyName"


class Notes:
    """Reads from the device as we know it, writes to core-metadata; our own picture changes when it tells us."""

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
        """Store these keys beside those that are there; an empty value takes its key away."""
        await self._put(name, FREE_FORM, values)

    async def _put(self, name: str, protocol: str, changes: Mapping[str, Any]) -> None:
        """PATCH replaces all protocols at once, so they are read anew before (contract 2.6)."""
        device = await self._metadata.device(name)
        properties = {**device.protocols.get(protocol, {}), **changes}
        kept = {key: value for key, value in properties.items() if value not in ("", None)}
        protocols = {**device.protocols, protocol: kept}
        await self._metadata.patch_device(name, protocols=protocols)

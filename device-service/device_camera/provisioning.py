"""Profiles, devices and provision watchers out of files, given to core-metadata at the start (contract 6.10)."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from edgex_kit.device.cache import Devices
from edgex_kit.device.registration import fetch_profile
from edgex_kit.service.service import Service
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile, ProvisionWatcher
from edgex_kit.wire.errors import Invalid, Malformed, NotFound

from device_camera.config import CameraService
from device_camera.folders import read_folder

log = logging.getLogger(__name__)

T = TypeVar("T")
Contents = Iterable[tuple[str, Any]]
"""Places of files, and what they hold."""


async def provision(service: Service[CameraService], devices: Devices, packaged: Path) -> None:
    """Add what core-metadata lacks: profiles, then devices, then watchers. Raises Invalid for a file that is wrong,
    and what core-metadata refuses; that something exists already is fine.

    The bus must be answered meanwhile, because core-metadata asks us about every device.
    """
    folders, metadata, wait = service.settings.device, service.metadata, service.flags.uri_wait_s

    async def read(folder: str) -> Contents:
        return await asyncio.to_thread(lambda: list(read_folder(folder, packaged, wait)))

    profiles = list(profiles_from(await read(folders.profiles_dir)))
    for profile in profiles:
        await _add_profile(service, profile)
    wanted = devices_from(await read(folders.devices_dir), service.name)
    missing = [device for device in wanted if not devices.has(device.name)]
    for name in {device.profile_name for device in missing}:
        await fetch_profile(metadata, devices, name)
    await metadata.add_devices(missing)
    watchers = list(watchers_from(await read(folders.provision_watchers_dir), service.name))
    await metadata.add_watchers(watchers)
    log.info("provisioned: %d profiles, %d devices, %d watchers", len(profiles), len(missing), len(watchers))


def profiles_from(contents: Contents) -> Iterator[DeviceProfile]:
    """A profile a file."""
    for place, content in contents:
        yield _convert(place, content, DeviceProfile)


def devices_from(contents: Contents, service: str) -> Iterator[Device]:
    """YAML with a `deviceList`, or a JSON list; each becomes ours, UNLOCKED and UP."""
    ours = {"serviceName": service, "adminState": "UNLOCKED", "operatingState": "UP"}
    for place, content in contents:
        listed = content.get("deviceList") if isinstance(content, dict) else content
        if not isinstance(listed, list):
            raise Invalid(f"{place}: a deviceList expected")
        for one in listed:
            if not isinstance(one, dict):
                raise Invalid(f"{place}: a device expected, got {one!r:.80}")
            yield _convert(place, {"protocols": {}, **one, **ours}, Device)


def watchers_from(contents: Contents, service: str) -> Iterator[ProvisionWatcher]:
    """A watcher a file; it becomes ours."""
    for place, content in contents:
        if not isinstance(content, dict):
            raise Invalid(f"{place}: a provision watcher expected, got {content!r:.80}")
        yield _convert(place, {"adminState": "UNLOCKED", **content, "serviceName": service}, ProvisionWatcher)


async def _add_profile(service: Service[CameraService], profile: DeviceProfile) -> None:
    """Existing ones stay as they are: an operator may have changed them."""
    try:
        await service.metadata.profile(profile.name)
    except NotFound:
        await service.metadata.add_profiles([profile])


def _convert(place: str, content: Any, kind: type[T]) -> T:
    try:
        return convert(content, kind)
    except Malformed as error:
        raise Invalid(f"{place}: {error}") from error

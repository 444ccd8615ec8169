"""Profiles, devices and provision watchers out of files, given to core-metadata at the start (contract 6.10)."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from edgex_kit.codec import convert
from edgex_kit.devices import Device, DeviceProfile, ProvisionWatcher
from edgex_kit.errors import Invalid, Malformed, NotFound
from edgex_kit.service import Service

from device_camera.callbacks import fetch_profile
from device_camera.config import CameraService
from device_camera.devices import Devices

log = logging.getLogger(__name__)

_YAML = {".yml", ".yaml"}
_KINDS = {*_YAML, ".json"}

T = TypeVar("T")


async def provision(service: Service[CameraService], devices: Devices, packaged: Path) -> None:
    """Add what core-metadata lacks: profiles, then devices, then watchers. Raises Invalid for a file that is wrong,
    and what core-metadata refuses; that something exists already is fine.

    The bus must be answered meanwhile, because core-metadata asks us about every device.
    """
    folders = service.settings.device
    metadata = service.metadata
    profiles = list(load_profiles(find_folder(folders.profiles_dir, packaged)))
    for profile in profiles:
        await _add_profile(service, profile)
    wanted = load_devices(find_folder(folders.devices_dir, packaged), service.name)
    missing = [device for device in wanted if not devices.has(device.name)]
    for name in {device.profile_name for device in missing}:
        await fetch_profile(metadata, devices, name)
    await metadata.add_devices(missing)
    watchers = list(load_watchers(find_folder(folders.provision_watchers_dir, packaged), service.name))
    await metadata.add_watchers(watchers)
    log.info("provisioned: %d profiles, %d devices, %d watchers", len(profiles), len(missing), len(watchers))


def find_folder(name: str, packaged: Path) -> Path | None:
    """The folder of that name; `./res/...` that is not here is the one that ships with the service. None for none.

    Raises Invalid for one that does not exist.
    """
    if not name:
        return None
    folder = Path(name)
    shipped = packaged / folder.name if folder.parent == Path("res") else folder
    for place in (folder, shipped):
        if place.is_dir():
            return place
    raise Invalid(f"folder '{name}' does not exist (working directory {Path.cwd()})")


def load_profiles(folder: Path | None) -> Iterator[DeviceProfile]:
    """A profile a file."""
    for file, content in _contents(folder):
        yield _convert(file, content, DeviceProfile)


def load_devices(folder: Path | None, service: str) -> Iterator[Device]:
    """YAML with a `deviceList`, or a JSON list; each becomes ours, UNLOCKED and UP."""
    for file, content in _contents(folder):
        listed = content.get("deviceList") if isinstance(content, dict) else content
        if not isinstance(listed, list):
            raise Invalid(f"{file}: a deviceList expected")
        for one in listed:
            if not isinstance(one, dict):
                raise Invalid(f"{file}: a device expected, got {one!r:.80}")
            ours = {"serviceName": service, "adminState": "UNLOCKED", "operatingState": "UP"}
            yield _convert(file, {"protocols": {}, **one, **ours}, Device)


def load_watchers(folder: Path | None, service: str) -> Iterator[ProvisionWatcher]:
    """A watcher a file; it becomes ours."""
    for file, content in _contents(folder):
        watcher = _convert(file, {"adminState": "UNLOCKED", **content, "serviceName": service}, ProvisionWatcher)
        yield msgspec.structs.replace(watcher, service_name=service)


async def _add_profile(service: Service[CameraService], profile: DeviceProfile) -> None:
    """Existing ones stay as they are: an operator may have changed them."""
    try:
        await service.metadata.profile(profile.name)
    except NotFound:
        await service.metadata.add_profiles([profile])


def _contents(folder: Path | None) -> Iterator[tuple[Path, Any]]:
    for file in sorted(folder.iterdir()) if folder else ():
        if file.suffix.lower() in _KINDS and file.is_file():
            yield file, _load(file)


def _load(file: Path) -> Any:
    try:
        text = file.read_bytes()
        return yaml.safe_load(text) if file.suffix.lower() in _YAML else msgspec.json.decode(text)
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, msgspec.DecodeError, UnicodeError) as error:
        raise Invalid(f"{file} is no {file.suffix.lstrip('.')}: {str(error).splitlines()[0]}") from error


def _convert(file: Path, content: Any, kind: type[T]) -> T:
    try:
        return convert(content, kind)
    except Malformed as error:
        raise Invalid(f"{file}: {error}") from error

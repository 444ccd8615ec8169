"""Profiles, devices and provision watchers from YAML and JSON files, added to core-metadata at the start.

The files are in a folder of this machine or behind a URL. A URL names an index: a JSON list of file names, or a JSON
map of them by the name of what they hold; the files lie beside the index.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import yaml
from edgex_kit.clients.http import fetch_text
from edgex_kit.device.cache import Devices
from edgex_kit.device.registration import fetch_profile
from edgex_kit.service.service import Service
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile, ProvisionWatcher
from edgex_kit.wire.errors import Invalid, Malformed, NotFound
from edgex_kit.wire.redact import redact

from device_camera.config import CameraService

log = logging.getLogger(__name__)

_YAML = (".yml", ".yaml")
_KINDS = (*_YAML, ".json")

T = TypeVar("T")
Contents = Iterable[tuple[str, Any]]
"""Paths or URLs of files, and their parsed content."""


async def provision(service: Service[CameraService], devices: Devices, packaged: Path) -> None:
    """Add what core-metadata lacks: profiles, then devices, then watchers. Raises Invalid for a file that is wrong,
    and what core-metadata refuses; that something exists already is fine.

    The bus must be served meanwhile, because core-metadata asks the service to validate every device.
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
    """One profile per file."""
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
    """One watcher per file; it becomes ours."""
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


def read_folder(name: str, packaged: Path, wait: float) -> Iterator[tuple[str, Any]]:
    """Path and content of every file; other kinds of files are skipped. `wait` in seconds is for each URL. Blocking.

    Raises Invalid naming the folder or the file that is wrong, Unreachable for a URL that does not answer.
    """
    if urlsplit(name).scheme in ("http", "https"):
        yield from _behind_url(name, wait)
    elif name:
        for file in sorted(find_folder(name, packaged).iterdir()):
            if file.name.lower().endswith(_KINDS) and file.is_file():
                yield str(file), _parse(str(file), _text_of(file))


def find_folder(name: str, packaged: Path) -> Path:
    """The folder of that name; `./res/...` that does not exist is the one that ships with the service.

    Raises Invalid for one that does not exist.
    """
    folder = Path(name)
    shipped = packaged / folder.name if folder.parent == Path("res") else folder
    for place in (folder, shipped):
        if place.is_dir():
            return place
    raise Invalid(f"folder '{name}' does not exist (working directory {Path.cwd()})")


def _behind_url(url: str, wait: float) -> Iterator[tuple[str, Any]]:
    parts = urlsplit(url)
    index = _parse(redact(url), fetch_text(url, wait), is_yaml=False)
    names = list(index.values()) if isinstance(index, dict) else index
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid(f"{redact(url)}: a list or a map of file names expected")
    for name in names:
        beside = f"{parts.path.rpartition('/')[0]}/{name}"
        if name.lower().endswith(_KINDS):
            place = urlunsplit(parts._replace(path=beside))
            yield redact(place), _parse(redact(place), fetch_text(place, wait), is_yaml=name.lower().endswith(_YAML))


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise Invalid(f"{file} is no UTF-8 text") from error


def _parse(place: str, text: str, *, is_yaml: bool | None = None) -> Any:
    is_yaml = place.lower().endswith(_YAML) if is_yaml is None else is_yaml
    try:
        return yaml.safe_load(text) if is_yaml else json.loads(text)
    except (yaml.YAMLError, ValueError) as error:
        kind = "YAML" if is_yaml else "JSON"
        raise Invalid(f"{place} is no {kind}: {str(error).splitlines()[0]}") from error

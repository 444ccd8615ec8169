"""What we know from core-metadata: our own record, our devices, their profiles, the provision watchers.

Listeners are called with a device's name when the device, its profile or our own lock has changed; each compares what
it runs with what it should run. All of it runs on the event loop.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial

from edgex_kit.wire.devices import AdminState, Device, DeviceProfile, ProvisionWatcher
from edgex_kit.wire.errors import Locked, NotFound

log = logging.getLogger(__name__)


class Devices:
    """The devices this service runs."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.admin_state: AdminState = "UNLOCKED"
        self.labels: tuple[str, ...] = ()
        self._devices: dict[str, Device] = {}
        self._profiles: dict[str, DeviceProfile] = {}
        self._watchers: dict[str, ProvisionWatcher] = {}
        self._listeners: list[Callable[[str], None]] = []

    # -- reading

    @property
    def is_locked(self) -> bool:
        return self.admin_state == "LOCKED"

    @property
    def watchers(self) -> tuple[ProvisionWatcher, ...]:
        return tuple(self._watchers.values())

    def all(self) -> tuple[Device, ...]:
        return tuple(self._devices.values())

    def has(self, name: str) -> bool:
        return name in self._devices

    def find(self, name: str) -> Device | None:
        return self._devices.get(name)

    def get(self, name: str) -> Device:
        """The device. Raises NotFound."""
        try:
            return self._devices[name]
        except KeyError:
            raise NotFound(f"device {name} not found") from None

    def find_profile(self, name: str) -> DeviceProfile | None:
        return self._profiles.get(name)

    def profile_of(self, device: Device) -> DeviceProfile:
        """The profile of a device. Raises Locked without one, as device-sdk-go does."""
        if not device.profile_name:
            raise Locked("no associated device profile")
        profile = self._profiles.get(device.profile_name)
        if profile is None:
            raise Locked(f"no associated device profile: '{device.profile_name}' is not known here")
        return profile

    def is_active(self, name: str) -> bool:
        """Whether the device exists and nobody has locked it or us."""
        device = self._devices.get(name)
        return device is not None and not device.is_locked and not self.is_locked

    def check_unlocked(self, name: str) -> Device:
        """The device. Raises Locked (the service), then NotFound, then Locked (the device), as device-sdk-go does."""
        if self.is_locked:
            raise Locked("service locked")
        device = self.get(name)
        if device.is_locked:
            raise Locked(f"device {name} locked")
        return device

    # -- changes

    def on_change(self, call: Callable[[str], None]) -> Callable[[], None]:
        """Call `call` with the name of every device that changes; returns a function that ends that."""
        self._listeners.append(call)
        return partial(self._listeners.remove, call)

    def put(self, device: Device) -> None:
        """Add a device, or replace what we knew of it."""
        if self._devices.get(device.name) == device:
            return
        self._devices[device.name] = device
        self._notify(device.name)

    def remove(self, name: str) -> None:
        """Forget a device that was deleted or has moved to another service."""
        if self._devices.pop(name, None) is not None:
            self._notify(name)

    def put_profile(self, profile: DeviceProfile) -> None:
        """Add a profile, or replace it for all its devices."""
        if self._profiles.get(profile.name) == profile:
            return
        self._profiles[profile.name] = profile
        self._notify(*(device.name for device in self.all() if device.profile_name == profile.name))

    def remove_profile(self, name: str) -> None:
        """Forget a deleted profile, unless a device still has it."""
        if any(device.profile_name == name for device in self._devices.values()):
            log.warning("profile '%s' was deleted, but devices here still have it", name)
            return
        self._profiles.pop(name, None)

    def put_watcher(self, watcher: ProvisionWatcher) -> None:
        self._watchers[watcher.name] = watcher

    def remove_watcher(self, name: str) -> None:
        self._watchers.pop(name, None)

    def put_service(self, admin_state: AdminState, labels: Iterable[str]) -> None:
        """Update our own record."""
        self.labels = tuple(labels)
        if admin_state != self.admin_state:
            self.admin_state = admin_state
            log.info("the service is %s", admin_state)
            self._notify(*self._devices)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget every device but these: the others were deleted while we were not connected."""
        for name in set(self._devices) - set(names):
            self.remove(name)

    def keep_only_watchers(self, names: Iterable[str]) -> None:
        wanted = set(names)
        self._watchers = {name: watcher for name, watcher in self._watchers.items() if name in wanted}

    def _notify(self, *names: str) -> None:
        for name in names:
            for call in self._listeners:
                call(name)

"""What core-metadata publishes and asks on the bus: system events, and validation of devices by their service."""

import logging
import time
from collections.abc import Iterable

from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, TimedOut, Unavailable, Unreachable
from edgex_kit.wire.messages import API, SystemEvent, new_id

from edgex_standin.core import METADATA, Core
from edgex_standin.documents import Doc

log = logging.getLogger(__name__)


class SystemEvents:
    """Publishes for one HTTP request: all its events carry that request's correlation id."""

    def __init__(self, core: Core, correlation_id: str) -> None:
        self._core = core
        self._correlation_id = correlation_id

    def device(self, action: str, device: Doc, owner: str = "") -> None:
        self._publish("device", action, owner or device["serviceName"], device, device.get("profileName", ""))

    def service(self, action: str, service: Doc) -> None:
        self._publish("deviceservice", action, service["name"], service)

    def profile(self, action: str, profile: Doc, services: Iterable[str] = ()) -> None:
        """Once with core-metadata as owner, and once for each service that has a device with the profile."""
        for owner in (METADATA, *services):
            self._publish("deviceprofile", action, owner, profile, profile["name"])

    def watcher(self, action: str, watcher: Doc, owner: str = "") -> None:
        profile = watcher["discoveredDevice"].get("profileName", "")
        self._publish("provisionwatcher", action, owner or watcher["serviceName"], watcher, profile)

    def _publish(self, kind: str, action: str, owner: str, details: Doc, profile: str = "") -> None:
        core = self._core
        event = SystemEvent(
            type=kind, action=action, source=METADATA, owner=owner, details=details, timestamp=time.time_ns()
        )
        data = codec.encode(event, correlation_id=self._correlation_id, encoding=core.encoding)
        if core.bus.publish(core.topics.system_event(METADATA, kind, action, owner, profile), data) is None:
            log.warning("the %s of %s '%s' was not published: no message broker", action, kind, details["name"])


_WITHOUT_LIMIT = 5.0  # seconds, where RequestTimeout is 0


async def ask_service(core: Core, device: Doc) -> None:
    """Ask the device's service over the bus. Raises EdgexError (500) with its refusal.

    A service that is silent lets the whole HTTP request run into its time limit, as in Go: there the two limits are the
    same, so ours waits longer and leaves the answer to the frame.
    """
    wait = 2 * (core.service.timeout_s or _WITHOUT_LIMIT)
    service, request_id = device["serviceName"], new_id()
    topic = core.topics.validate_device(service)
    body = {"apiVersion": API, "requestId": new_id(), "device": device}
    data = codec.encode(body, request_id=request_id, encoding=core.encoding)
    try:
        await core.bus.request(topic, data, core.topics.response(service, request_id), wait)
    except (TimedOut, Unreachable) as error:
        raise Unavailable(f"Error sending request to topic '{topic}'") from error
    except EdgexError as error:
        raise EdgexError(f"Device {device['name']} validation failed: {error}") from error

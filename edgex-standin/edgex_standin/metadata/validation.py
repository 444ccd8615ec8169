"""The question core-metadata asks a device service before it stores one of its devices (contract 1.10)."""

from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, TimedOut, Unavailable, Unreachable
from edgex_kit.wire.messages import API, new_id

from edgex_standin.core import Core
from edgex_standin.documents import Doc

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

"""`device-camera`: cameras become EdgeX devices that publish frames. Starts and connects all parts of the service."""

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from edgex_kit.device.autoevents import AutoEvents
from edgex_kit.device.bus_api import open_bus_api
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.device.operating_state import Operating
from edgex_kit.device.registration import Registration
from edgex_kit.device.rest_api import command_routes
from edgex_kit.service.metrics import metrics_route
from edgex_kit.service.rest import build_app, common_routes, ready_route
from edgex_kit.service.server import serve_on
from edgex_kit.service.service import Service, run
from edgex_kit.supervision import Lasting, keep
from edgex_kit.wire.devices import Device

from device_camera.cameras import open_cameras
from device_camera.config import CameraService
from device_camera.discovery import Discovery, discovery_routes
from device_camera.driver import CameraDriver, CameraStates
from device_camera.metrics import Meters
from device_camera.provisioning import provision
from device_camera.publisher import FrameStream, StatusEvents
from device_camera.settings import CameraSettings, settings_from_device
from device_camera.v4l2.usb import find_usb_cameras

log = logging.getLogger(__name__)

_BLOCKING = 64  # calls at once: cameras that do not answer must not keep core-metadata's calls waiting
PACKAGED = Path(__file__).parent / "res"


async def serve(service: Service[CameraService]) -> None:
    """Run the service until it is cancelled: HTTP first, then the bus, then core-metadata, as EdgeX's services do."""
    service.settings.check()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_BLOCKING, "asyncio_blocking"))
    live, own = service.live, service.settings.service
    devices = Devices(service.name)
    outbox = Outbox(service)
    operating = Operating(service, devices)
    states = StatusEvents(service, outbox)
    paths = live.now.driver
    discovery = Discovery(service, devices, partial(find_usb_cameras, Path(paths.sysfs), Path(paths.dev)))
    registration = Registration(service, devices, partial(provision, service, devices, PACKAGED))

    def settings_for(device: Device) -> CameraSettings:
        """Raises Invalid for a device that cannot be a camera, or that nobody could receive frames of."""
        service.topics.check_name("device name", device.name)
        service.topics.check_name("profile name", device.profile_name)
        return settings_from_device(
            device, live.now.writable.camera, service.secrets.get, live.now.images.limits, live.now.driver.access
        )

    async with open_cameras(
        devices,
        settings_for=settings_for,
        publish=FrameStream(service, outbox, devices).run,
        listeners=[CameraStates(devices, operating).follow, states.follow],
    ) as cameras:
        live.on_change(lambda _: cameras.reconcile_all())
        service.secrets.on_change(cameras.reconcile_all)
        meters = Meters(devices, cameras, service.metrics)
        driver = CameraDriver(service, devices, cameras, meters)
        commands = Commands(service, devices, driver, operating)
        routes = [
            *common_routes(service.name, lambda: live.tree, service.secrets),
            *command_routes(service, commands, outbox),
            *discovery_routes(discovery),
            metrics_route(service.metrics, {"device": "camera"}),
            ready_route(service.name, lambda: service.waits_for or ([] if registration.is_done else ["core-metadata"])),
        ]
        async with (
            asyncio.TaskGroup() as tasks,
            serve_on(build_app(routes, own, guard=service.guard), service.socket),
            service.registered(service.port),
            open_bus_api(service, registration, driver, commands, outbox, tasks) as follow_system_events,
        ):
            keep(tasks, {"configuration": service.follow, "meters": meters.run, "telemetry": service.report})
            await registration.register(service.port)
            lasting: Lasting = {
                "system events": follow_system_events,
                "operating state": operating.run,
                "state events": partial(states.run, commands),
                "refresh": registration.refresh,
                "discovery": discovery.run,
                "devices that are DOWN": partial(operating.retry, commands),
            }
            keep(tasks, lasting)
            AutoEvents(devices, commands, outbox.send, tasks)
            log.info("%s", own.startup_msg or f"{service.name} started")
            await asyncio.Event().wait()


def main() -> None:
    """Entry point of the command."""
    sys.exit(run(serve, "device-camera", "device-services", CameraService, PACKAGED))


if __name__ == "__main__":
    main()

"""`device-camera`: cameras become EdgeX devices that publish frames. This page is its table of contents."""

import asyncio
import sys
from pathlib import Path

from edgex_kit.devices import Device
from edgex_kit.rest import build_app, common_routes, open_server
from edgex_kit.service import Service, run

from device_camera.callbacks import SystemEventDoor
from device_camera.cameras import open_cameras
from device_camera.commands import Commands
from device_camera.config import CameraService
from device_camera.devices import Devices
from device_camera.joining import Joining, base_name, until_answered
from device_camera.operating import Operating
from device_camera.protocols import Asked, asked_of, check_device
from device_camera.provisioning import provision
from device_camera.publishing import FrameStream, Outbox
from device_camera.requests import CommandDoor, ValidationDoor
from device_camera.routes import command_routes

PACKAGED = Path(__file__).parent / "res"


async def serve(service: Service[CameraService]) -> None:
    """Run the service until it is cancelled; HTTP first, then the bus, then core-metadata (contract 3.5)."""
    topics, live = service.topics, service.live
    devices = Devices(service.name)
    outbox = Outbox(service)
    operating = Operating(service, devices)
    joining = Joining(service, devices)
    stream = FrameStream(service, outbox, devices)

    def ask(name: str) -> Asked:
        return asked_of(devices.get(name), live.now.writable.camera, service.secrets.get)

    def check(device: Device) -> None:
        check_device(device, live.now.writable.camera)

    async with open_cameras(devices, ask, stream.run, operating.follow) as cameras, asyncio.TaskGroup() as tasks:
        live.on_change(lambda _: cameras.reconcile_all())
        commands = Commands(service, devices, cameras, operating)
        routes = [
            *common_routes(service.name, lambda: live.tree, service.secrets),
            *command_routes(service, commands, outbox),
        ]
        own = live.now.service
        async with (
            open_server(build_app(routes, own), own.bind_host, own.port) as port,
            service.registered(port),
            service.bus.messages(topics.command_requests(service.name)) as asked,
            service.bus.messages(topics.validate_device(service.name)) as to_validate,
            service.bus.messages(
                topics.system_events(service.name),
                topics.deleted_profiles(),
                topics.system_events(base_name(service), "provisionwatcher"),
            ) as told,
        ):
            tasks.create_task(CommandDoor(service, commands, outbox).serve(asked), name="commands")
            tasks.create_task(ValidationDoor(service, check).serve(to_validate), name="validation")
            while not await service.bus.settle(10):
                pass
            joining.settled()
            await until_answered("core-metadata", joining.load)
            await until_answered("core-metadata", lambda: joining.register(port))
            tasks.create_task(SystemEventDoor(service.metadata, devices, service.metrics).serve(told), name="callbacks")
            await until_answered("core-metadata", lambda: provision(service, devices, PACKAGED))
            tasks.create_task(operating.run(), name="operating state")
            tasks.create_task(joining.refresh(), name="refresh")
            tasks.create_task(cameras.watch(), name="watch")
            tasks.create_task(service.follow(), name="configuration")
            tasks.create_task(service.report(), name="telemetry")
            await asyncio.Event().wait()


def main() -> None:
    """Entry point of the command."""
    sys.exit(run(serve, "device-camera", "device-services", CameraService, PACKAGED))


if __name__ == "__main__":
    main()

"""`make run`: checks, pulls, starts the core, the camera and the eye in this order, and shows what they do."""

import asyncio
import contextlib
import signal
import sys

import yaml
from app_inference.models.staging import remove
from edgex_kit.service.service import first_of
from edgex_kit.wire.errors import EdgexError
from rich.console import Console

from demo.credentials import SECRET, Login, split_login, store_login
from demo.options import Options, parse_options
from demo.preflight import check_ports, check_things
from demo.processes import Child, running, until_dead, until_up
from demo.samples import SAMPLES, lend_model, sample_model, sample_video
from demo.services import camera_environment, core_arguments, inference_environment
from demo.table import show
from demo.terminal import own_foreground

START_WAIT = 60.0  # seconds


async def run(options: Options, model: str, login: Login | None, console: Console) -> None:
    """All processes, until cancelled."""
    ports, logs = options.ports, options.folder / "log"

    def ping(port: int) -> str:
        return f"http://localhost:{port}/api/v3/ping"

    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, module: str, *args: str, env: dict[str, str], answers: int) -> Child:
            console.print(f"starting {name}", highlight=False)
            child = await stack.enter_async_context(running(name, module, *args, env=env, log=logs / f"{name}.log"))
            await until_up(child, ping(answers), START_WAIT)
            return child

        core = await start("edgex-standin", "edgex_standin", *core_arguments(options), env={}, answers=ports.command)
        provider = (f"-cp=keeper.http://localhost:{ports.keeper}", "-r")
        async with asyncio.TaskGroup() as starting:
            eye = starting.create_task(
                start(
                    "app-inference",
                    "app_inference",
                    *provider,
                    env=inference_environment(options, model),
                    answers=ports.inference,
                )
            )
            camera = starting.create_task(
                start(
                    "device-camera", "device_camera", *provider,
                    env=camera_environment(options), answers=ports.camera,
                )
            )  # fmt: skip
        if login:
            await store_login(f"http://localhost:{ports.camera}", login)
        page = f"http://localhost:{ports.inference}/"
        console.print(f"\nThe page: [link={page}]{page}[/link]   logs: {logs}   end: Ctrl-C\n", highlight=False)
        async with asyncio.TaskGroup() as tasks:
            for child in (core, eye.result(), camera.result()):
                tasks.create_task(until_dead(child), name=child.name)
            tasks.create_task(show(f"{page}api/v3/vision/status", console), name="table")


async def until_signalled(options: Options, model: str, login: Login | None, console: Console) -> None:
    """Run until Ctrl-C, SIGTERM, a closed terminal, or the end of `--seconds`; that is a good end."""
    running_all = asyncio.create_task(run(options, model, login, console))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, running_all.cancel)
    if options.seconds:
        loop.call_later(options.seconds, running_all.cancel)
    try:
        await running_all
    except asyncio.CancelledError:
        console.print("\nending …", highlight=False)
    except BaseExceptionGroup as group:
        raise first_of(group) from group


def main() -> int:
    options, console = parse_options(sys.argv[1:]), Console()
    with own_foreground():
        try:
            console.print("looking at ports, camera and model", highlight=False)
            check_ports(options.ports)
            sample = SAMPLES[options.sample]
            source, login = split_login(options.source or str(sample_video(sample, options.cache)))
            model = options.model or sample_model(sample, options.cache)
            check_things(source, login, options)
            remove(options.folder)
            lend_model(model, options.cache, options.folder / "models")
            write_cameras(options, source, login)
            asyncio.run(until_signalled(options, model, login, console))
        except EdgexError as error:
            console.print(f"[red]cannot run:[/red] {error}", highlight=False, soft_wrap=True)
            return 1
        except KeyboardInterrupt:  # before anything was started
            return 0
    return 0


def write_cameras(options: Options, source: str, login: Login | None) -> None:
    """The cameras as a device file, as anybody would provision them."""
    folder = options.folder / "devices"
    folder.mkdir(parents=True)
    camera = {"Source": source, "Fps": options.fps, **({"SecretName": SECRET} if login else {})}
    devices = [
        {"name": name, "profileName": "vision-camera", "labels": ["demo"], "protocols": {"Camera": dict(camera)}}
        for name in options.camera_names
    ]
    (folder / "cameras.yaml").write_text(yaml.safe_dump({"deviceList": devices}), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Check what was asked for, start the services in order, and show a table until the end."""

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from functools import partial

import requests
from app_inference.models.staging import remove
from edgex_kit.service.service import first_of
from edgex_kit.wire.errors import EdgexError
from rich.console import Console

from demo.check import check_named, check_ports
from demo.options import Login, Options, allowed, parse_options, split_login, store_login, write_cameras
from demo.processes import Child, running, until_dead, until_up
from demo.samples import SAMPLES, sample_model, sample_video
from demo.table import show

START_WAIT = 60.0  # seconds
SERVICES = {"EDGEX_SECURITY_SECRET_STORE": "false", "PYTHONUNBUFFERED": "1"}


def run(argv: Sequence[str]) -> int:
    """The whole of it; returns the exit status."""
    options, console = parse_options(argv), Console()
    try:
        console.print("checking ports, camera and model", highlight=False)
        check_ports(options.ports)
        sample = SAMPLES[options.sample]
        source, login = split_login(options.source or str(sample_video(sample, options.cache)))
        model = options.model or sample_model(sample, options.cache, options.models)
        check_named(source, login, options)
        remove(options.folder)
        write_cameras(options, source, login)
        asyncio.run(_until_signalled(options, model, login, console))
    except EdgexError as error:
        console.print(f"[red]cannot run:[/red] {error}", highlight=False, soft_wrap=True)
        return 1
    return 0


async def _until_signalled(options: Options, model: str, login: Login | None, console: Console) -> None:
    """Run until Ctrl-C, SIGTERM, a closed terminal, or the end of `--seconds`; all of them are a normal end."""
    services = asyncio.create_task(_run(options, model, login, console))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, services.cancel)
    if options.seconds:
        loop.call_later(options.seconds, services.cancel)
    try:
        await services
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):  # the terminal may be closed
            console.print("\nstopping …", highlight=False)
    except BaseExceptionGroup as group:
        raise first_of(group) from group


async def _run(options: Options, model: str, login: Login | None, console: Console) -> None:
    """All services, until cancelled."""
    ports, logs, folder = options.ports, options.folder / "log", options.folder
    core = {"keeper": ports.keeper, "metadata": ports.metadata, "data": ports.data, "command": ports.command}
    core_arguments = [f"--{name}-port={port}" for name, port in (core | {"broker": ports.broker}).items()]
    inference = SERVICES | {
        "SERVICE_PORT": str(ports.inference),
        "INFERENCE_MODELSDIR": str(options.models),
        "INFERENCE_STATEDIR": str(options.model_state),
        "INFERENCE_CACHEDIR": str(options.cache / "compiled"),  # a second start does not compile
        "WRITABLE_PIPELINES_DEFAULT_MODEL": model,
        "WRITABLE_PIPELINES_DEFAULT_MODELTYPE": options.model_type,
    }
    camera = SERVICES | allowed(options)
    camera |= {"SERVICE_PORT": str(ports.camera), "DEVICE_DEVICESDIR": str(folder / "devices")}

    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, module: str, *args: str, port: int, env: Mapping[str, str]) -> Child:
            console.print(f"starting {name}", highlight=False)
            child = await stack.enter_async_context(running(name, module, *args, env=env, log=logs / f"{name}.log"))
            await until_up(child, partial(_answers, f"http://localhost:{port}/api/v3/ping"), START_WAIT)
            return child

        state = f"--state={folder / 'state'}"
        children = [await start("edgex-standin", "edgex_standin", *core_arguments, state, port=ports.command, env={})]
        provider = (f"-cp=keeper.http://localhost:{ports.keeper}", "-r")
        async with asyncio.TaskGroup() as tasks:
            started = [
                tasks.create_task(
                    start("app-inference", "app_inference", *provider, port=ports.inference, env=inference)
                ),
                tasks.create_task(start("device-camera", "device_camera", *provider, port=ports.camera, env=camera)),
            ]
        children += [it.result() for it in started]
        if login:
            await store_login(f"http://localhost:{ports.camera}", login)
        page = f"http://localhost:{ports.inference}/"
        console.print(f"\nThe page: [link={page}]{page}[/link]   logs: {logs}   end: Ctrl-C\n", highlight=False)
        async with asyncio.TaskGroup() as tasks:
            for child in children:
                tasks.create_task(until_dead(child), name=child.name)
            tasks.create_task(show(f"{page}api/v3/vision/status", console), name="table")


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=2).ok
    return False

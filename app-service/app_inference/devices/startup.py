"""What is asked and told once at the start: core-metadata's version, and the profiles of our results."""

import asyncio
import logging
from importlib.resources import files
from pathlib import Path

import yaml
from edgex_kit import SDK_VERSION
from edgex_kit.device.cache import Devices
from edgex_kit.device.registration import fetch_profile
from edgex_kit.service.service import Service
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import DeviceProfile
from edgex_kit.wire.errors import EdgexError, Unavailable

from app_inference.settings import AppSettings

MODEL_PROFILE = "openvino-model"

log = logging.getLogger(__name__)


async def await_metadata(service: Service[AppSettings]) -> None:
    """Wait for core-metadata and compare major versions, as Go's SDK does (contract 3.6); `-s` skips it.

    Raises Unavailable after the startup duration, or for another major version.
    """
    if service.flags.skip_version_check:
        return
    deadline = asyncio.get_running_loop().time() + service.flags.startup_s
    said = ""
    while True:
        try:
            version = await service.metadata.version()
            break
        except EdgexError as error:
            if str(error) != said:
                said = str(error)
                log.info("waiting for core-metadata: %s", error)
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable(f"gave up after {service.flags.startup_s:g} s: {error}") from error
        await asyncio.sleep(service.flags.interval_s)
    theirs, ours = version.split(".")[0], SDK_VERSION.split(".")[0]
    if theirs not in (ours, "0"):
        raise Unavailable(f"core-metadata is version {version}, this service is made for {ours}.x; -s skips this check")


async def publish_profiles(service: Service[AppSettings], retry_s: float = 30.0) -> None:
    """Put the profiles of our results into core-metadata, so that UI and rules know their resources.

    Tries until it has worked: core-metadata may come later than we do. Results flow all the same.
    """
    said = ""
    while True:
        try:
            await service.metadata.add_profiles(result_profiles())
            return
        except EdgexError as error:
            if str(error) != said:
                said = str(error)
                log.warning("the result profiles could not be stored, results flow all the same: %s", error)
        await asyncio.sleep(retry_s)


async def publish_model_profile(service: Service[AppSettings], devices: Devices) -> None:
    """See that core-metadata has the profile of models, and read it back: an operator may have changed it."""
    await service.metadata.add_profiles([it for it in result_profiles() if it.name == MODEL_PROFILE])
    await fetch_profile(service.metadata, devices, MODEL_PROFILE)


def result_profiles() -> list[DeviceProfile]:
    """The profiles this package ships."""
    folder = Path(str(files("app_inference").joinpath("res/profiles")))
    return [
        convert(yaml.safe_load(path.read_text(encoding="utf-8")), DeviceProfile)
        for path in sorted(folder.glob("*.yaml"))
    ]

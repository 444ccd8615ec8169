"""The compose files as plain data, and what a container of ours is told by them and by its Dockerfile."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
STACK = "docker-compose.edgex.yml"
SECURE = "docker-compose.edgex.secure.yml"
DEVICES = "docker-compose.devices.yml"
OURS = {"device-camera": "device-service", "app-inference": "app-service"}
CONFIGURATIONS = {
    "device-camera": ROOT / "device-service/device_camera/res/configuration.yaml",
    "app-inference": ROOT / "app-service/app_inference/res/configuration.yaml",
}


class _Loader(yaml.SafeLoader):
    """YAML with compose's `!override`, which says how files are merged and nothing about the value."""


_Loader.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))


@functools.cache
def load(file: str) -> dict[str, Any]:
    """One compose file; not to be changed, for all tests share it."""
    loaded: dict[str, Any] = yaml.load((ROOT / file).read_text(encoding="utf-8"), _Loader)
    return loaded


def services(file: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(file)["services"]
    return found


def dockerfile(service: str) -> str:
    text = (ROOT / OURS[service] / "Dockerfile").read_text(encoding="utf-8")
    return text.replace("\\\n", " ")


def entrypoint(service: str) -> list[str]:
    """What the image runs; the compose file's command are its arguments."""
    found = re.search(r"^ENTRYPOINT (\[.*\])$", dockerfile(service), re.MULTILINE)
    assert found, f"the Dockerfile of {service} has no ENTRYPOINT"
    words: list[str] = json.loads(found[1])
    return words


def image_environment(service: str) -> dict[str, str]:
    """The variables that the image sets."""
    lines = re.findall(r"^ENV (.*)$", dockerfile(service), re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())

"""A user and password in SOURCE= become a secret of device-camera; they are in no device, file, log or command line."""

import asyncio
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from edgex_kit.wire.errors import Unavailable

SECRET = "camera"  # noqa: S105 - its name
_USER, _PASSWORD = "DEMO_CAMERA_USER", "DEMO_CAMERA_PASSWORD"

Login = tuple[str, str]  # user, password


def split_login(source: str) -> tuple[str, Login | None]:
    """The source without its user and password, and these."""
    parts = urlsplit(source)
    if not parts.username:
        return source, None
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, (unquote(parts.username), unquote(parts.password or ""))


def login_environment(login: Login | None) -> dict[str, str]:
    """How a child process is told, unseen by `ps`."""
    return {_USER: login[0], _PASSWORD: login[1]} if login else {}


def login_from_environment(environ: Mapping[str, str] = os.environ) -> Login | None:
    user = environ.get(_USER)
    return (user, environ.get(_PASSWORD, "")) if user else None


async def store_login(camera_url: str, login: Login) -> None:
    """Give it to device-camera, as anybody would. Raises Unavailable."""
    data = [{"key": "username", "value": login[0]}, {"key": "password", "value": login[1]}]
    body = {"apiVersion": "v3", "secretName": SECRET, "secretData": data}
    answer = await asyncio.to_thread(requests.post, f"{camera_url}/api/v3/secret", json=body, timeout=5)
    if answer.status_code != requests.codes.created:
        raise Unavailable(f"device-camera did not take the camera's credentials: {answer.text}")

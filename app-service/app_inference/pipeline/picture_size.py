"""How large pictures must be, requested of cameras that make them no larger than that (`Size: auto`).

The frames of such a camera carry its full size. The request goes through core-command (resource `PictureNeeds`); the
camera keeps to the greatest size requested. A request expires after a while, so it is renewed.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, TimedOut
from edgex_kit.wire.messages import new_id

from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan
from app_inference.settings import AppSettings
from app_inference.vision.image import Size
from app_inference.vision.resize import LETTERBOX, WINDOW

log = logging.getLogger(__name__)

COMMAND = "core-command"
RESOURCE = "PictureNeeds"
RENEWAL = 20.0  # seconds; a camera keeps a request for a minute, and 30 s at the least
_INTERVAL = 1.0  # seconds between two checks of cameras, pipelines and models
_SILENCE = 30.0  # seconds without a frame, then nothing is requested of a camera
_WAIT = 5.0  # seconds for an answer
_AGAIN = 2.0  # seconds after none came; the last request is still in force then
_ROUNDING = 1e-9  # of a product that is a whole number and comes out a hair above it


def needed_size(full: Size, inputs: Iterable[tuple[Size, str]]) -> Size | None:
    """The smallest size of the shape of `full` that none of the model inputs (size, resize kind) has to enlarge.

    Never more than `full`; each side even, or that of `full` where it is odd and needed whole. None without inputs.
    """
    shares = [_share(full, size, kind) for size, kind in inputs]
    if not shares:
        return None
    width, height = (min(side, 2 * math.ceil(side * max(shares) / 2 - _ROUNDING)) for side in full)
    return width, height


def _share(full: Size, size: Size, kind: str) -> float:
    """Of the sides of `full`: where the picture's shape is kept, it is enough that it reaches one side of the input."""
    across, down = size[0] / full[0], size[1] / full[1]
    return min(across, down) if kind in (WINDOW, LETTERBOX) else max(across, down)


@dataclass(frozen=True, slots=True)
class _Request:
    size: Size
    at: float  # seconds, monotonic


class SizeRequests:
    """Requests of every camera that can follow the size that the plan's models need."""

    def __init__(self, service: Service[AppSettings], view: LiveView, plan: Callable[[], Plan]) -> None:
        self._service = service
        self._view = view
        self._plan = plan
        self._asked: dict[str, _Request] = {}
        self._logged: dict[str, str] = {}  # camera -> what was wrong last
        self._is_unanswered = False

    async def run(self) -> None:
        """For ever: request at a camera's first frame, at every change of the need, and before a request expires."""
        while True:
            await asyncio.sleep(_INTERVAL)
            cameras = self._view.full_sizes(_SILENCE)
            self._forget_all_but(cameras)
            needs = {camera: need for camera, full in cameras.items() if (need := self._need(camera, full))}
            await asyncio.gather(*(self._ask(*it) for it in needs.items() if self._is_due(*it)))

    def _forget_all_but(self, cameras: Collection[str]) -> None:
        """Names come with frames, which anybody may send: keep nothing of silent ones."""
        self._asked = {camera: asked for camera, asked in self._asked.items() if camera in cameras}
        self._logged = {camera: text for camera, text in self._logged.items() if camera in cameras}

    def _need(self, camera: str, full: Size) -> Size | None:
        pipelines = [it for it in self._plan().pipelines if it.wants(camera)]
        models = [model.resolved for it in pipelines for model in it.served.active.models()]
        return needed_size(full, [(it.size, it.resize) for it in models])

    def _is_due(self, camera: str, need: Size) -> bool:
        asked = self._asked.get(camera)
        return asked is None or asked.size != need or time.monotonic() - asked.at >= RENEWAL

    async def _ask(self, camera: str, need: Size) -> None:
        """Through core-command. What goes wrong is logged once: frames keep their size, and it is tried again."""
        self._asked[camera] = _Request(need, time.monotonic())
        service, request_id = self._service, new_id()
        body = {RESOURCE: {service.name: "{}x{}".format(*need)}}
        data = codec.encode(body, request_id=request_id, encoding=service.encoding)
        topic = service.topics.core_command_request(camera, RESOURCE, "set")
        try:
            await service.bus.request(topic, data, service.topics.response(COMMAND, request_id), _WAIT)
        except TimedOut:
            self._asked[camera] = _Request(need, time.monotonic() - RENEWAL + _AGAIN)
            self._log_unanswered()
        except EdgexError as error:
            self._log(camera, f"camera '{camera}' was asked for pictures of {body[RESOURCE][service.name]}: {error}")
        else:
            self._logged.pop(camera, None)
            self._is_unanswered = False

    def _log(self, camera: str, text: str) -> None:
        if self._logged.get(camera) != text:
            self._logged[camera] = text
            log.warning("%s", text)

    def _log_unanswered(self) -> None:
        if not self._is_unanswered:
            self._is_unanswered = True
            log.warning("cameras are not asked for smaller pictures: %s does not answer", COMMAND)

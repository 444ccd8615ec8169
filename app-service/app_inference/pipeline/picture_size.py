"""Picture needs: how large pictures have to be, asked of cameras that make them no larger than that (`Size: auto`).

Such a camera says so in its frames. It is asked through core-command, which any service may do, and keeps to the
greatest size asked for; what is asked ends after a while, so that it is asked again and again.
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
RENEWED = 20.0  # seconds; a camera keeps what is asked for a minute, and 30 s at the least
_LOOK_EVERY = 1.0  # seconds between two looks at cameras, pipelines and models
_SILENCE = 30.0  # seconds without a frame, then a camera is not asked
_WAIT = 5.0  # seconds for an answer
_AGAIN = 2.0  # seconds after none came; the lease still holds then
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
class _Asked:
    size: Size
    at: float  # seconds, monotonic


class SizeRequests:
    """Asks every camera that follows for what the plan's models need of it."""

    def __init__(self, service: Service[AppSettings], view: LiveView, plan: Callable[[], Plan]) -> None:
        self._service = service
        self._view = view
        self._plan = plan
        self._asked: dict[str, _Asked] = {}
        self._said: dict[str, str] = {}  # camera -> what was wrong last
        self._is_unanswered = False

    async def run(self) -> None:
        """See to it, for ever: at a camera's first frame, at every change of what is needed, and before leases end."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            cameras = self._view.full_sizes(_SILENCE)
            self._forget_all_but(cameras)
            needs = {camera: need for camera, full in cameras.items() if (need := self._need(camera, full))}
            await asyncio.gather(*(self._ask(*it) for it in needs.items() if self._is_due(*it)))

    def _forget_all_but(self, cameras: Collection[str]) -> None:
        """Names come with frames, which anybody may send."""
        self._asked = {camera: asked for camera, asked in self._asked.items() if camera in cameras}
        self._said = {camera: text for camera, text in self._said.items() if camera in cameras}

    def _need(self, camera: str, full: Size) -> Size | None:
        pipelines = [it for it in self._plan().pipelines if it.wants(camera)]
        models = [model.resolved for it in pipelines for model in it.slot.active.models()]
        return needed_size(full, [(it.size, it.resize) for it in models])

    def _is_due(self, camera: str, need: Size) -> bool:
        asked = self._asked.get(camera)
        return asked is None or asked.size != need or time.monotonic() - asked.at >= RENEWED

    async def _ask(self, camera: str, need: Size) -> None:
        """Through core-command. What goes wrong is said once: frames flow as they are, and it is tried again."""
        self._asked[camera] = _Asked(need, time.monotonic())
        service, request_id = self._service, new_id()
        body = {RESOURCE: {service.name: "{}x{}".format(*need)}}
        data = codec.encode(body, request_id=request_id, encoding=service.encoding)
        topic = service.topics.core_command_request(camera, RESOURCE, "set")
        try:
            await service.bus.request(topic, data, service.topics.response(COMMAND, request_id), _WAIT)
        except TimedOut:
            self._asked[camera] = _Asked(need, time.monotonic() - RENEWED + _AGAIN)
            self._say_unanswered()
        except EdgexError as error:
            self._say(camera, f"camera '{camera}' was asked for pictures of {body[RESOURCE][service.name]}: {error}")
        else:
            self._said.pop(camera, None)
            self._is_unanswered = False

    def _say(self, camera: str, text: str) -> None:
        if self._said.get(camera) != text:
            self._said[camera] = text
            log.warning("%s", text)

    def _say_unanswered(self) -> None:
        if not self._is_unanswered:
            self._is_unanswered = True
            log.warning("cameras are not asked for smaller pictures: %s does not answer", COMMAND)

"""core-metadata: all its routes."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin.core import Core
from edgex_standin.metadata.devices import Devices
from edgex_standin.metadata.profiles import Profiles, units
from edgex_standin.metadata.services import DeviceServices
from edgex_standin.metadata.watchers import Watchers
from edgex_standin.web import answer, route


def metadata_routes(core: Core) -> list[BaseRoute]:
    """All routes of core-metadata."""
    parts = (DeviceServices(core), Profiles(core), Devices(core), Watchers(core))
    return [one for part in parts for one in part.routes()] + [route("GET", "/uom", _units_of_measure)]


async def _units_of_measure(_request: Request) -> Response:
    return answer(uom=units())

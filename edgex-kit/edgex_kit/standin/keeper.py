"""core-keeper's REST interface to the key-value pairs (contract 4.1, 4.2). The registry is in `registry`."""

import base64
import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_kit import codec
from edgex_kit.errors import EdgexError, Invalid, NotFound
from edgex_kit.messages import KeyValue
from edgex_kit.rest import name_of
from edgex_kit.standin import kv
from edgex_kit.standin.core import Core
from edgex_kit.standin.paging import boolean
from edgex_kit.standin.web import answer, correlation_of, json_of, route
from edgex_kit.topics import config_change

log = logging.getLogger(__name__)

_PATH = "/kvs/key/{key:path}"  # one escaped segment or raw slashes, both are in use


class Keys:
    """The key-value routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [route("GET", _PATH, self.get), route("PUT", _PATH, self.put), route("DELETE", _PATH, self.delete)]

    async def get(self, request: Request) -> Response:
        only_keys, plaintext = boolean(request.query_params, "keyOnly"), boolean(request.query_params, "plaintext")
        key = kv.check_key(name_of(request, "key"))
        pairs = await self._core.store.run(lambda db: kv.find(db, key))
        if not pairs:
            raise NotFound(f"no key starting with '{key}' found")
        return answer(response=[pair.key if only_keys else _written(pair, plaintext) for pair in pairs])

    async def put(self, request: Request) -> Response:
        """Store, then say so on the bus: after every PUT, whether or not anything has changed."""
        flat = boolean(request.query_params, "flatten")
        body = await json_of(request)
        if not isinstance(body, dict):
            raise EdgexError("json: cannot unmarshal the body into Go value of type requests.UpdateKeysRequest")
        value = body.get("value")
        if value is None:
            raise Invalid("the value field is undefined")
        key = kv.check_key(name_of(request, "key"))
        if flat:
            keys = await self._core.store.run(lambda db: kv.put_flat(db, key, value))
        else:
            keys = [key]
            await self._core.store.run(lambda db: kv.put(db, key, kv.text_of(value)))
        self._announce(KeyValue(key=key, value=value), correlation_of(request))
        return answer(response=keys)

    async def delete(self, request: Request) -> Response:
        recursive = boolean(request.query_params, "prefixMatch")
        key = kv.check_key(name_of(request, "key"))
        keys = await self._core.store.run(lambda db: kv.delete(db, key, with_children=recursive))
        self._announce(KeyValue(key=key), correlation_of(request))
        return answer(response=keys)

    def _announce(self, change: KeyValue, correlation_id: str) -> None:
        data = codec.encode(change, correlation_id=correlation_id, encoding=self._core.encoding)
        if self._core.bus.publish(config_change(change.key), data) is None:
            log.warning("nobody was told that '%s' changed: there is no message broker", change.key)


def _written(pair: kv.Pair, plaintext: bool) -> dict[str, Any]:
    value = pair.value if plaintext else base64.b64encode(pair.value.encode()).decode()
    return {"key": pair.key, "Created": pair.created, "Modified": pair.modified, "value": value}

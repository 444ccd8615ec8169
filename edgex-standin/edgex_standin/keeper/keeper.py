"""core-keeper's key-value pairs over REST (edgex-go openapi/core-keeper.yaml). The registry is in `registry`."""

import base64
import logging
from typing import Any

from edgex_kit.service.rest import name_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Conflict, Invalid, NotFound
from edgex_kit.wire.messages import KeyValue
from edgex_kit.wire.topics import config_change
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin.core import Core
from edgex_standin.keeper import kv
from edgex_standin.shapes import UNREADABLE
from edgex_standin.web import answer, boolean, correlation_of, json_of, route

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
        key = _key_of(request)
        pairs = await self._core.store.run(lambda db: kv.find(db, key))
        if not pairs:
            raise NotFound(f"no key starting with '{key}' found")
        return answer(response=[pair.key if only_keys else _written(pair, plaintext) for pair in pairs])

    async def put(self, request: Request) -> Response:
        """Store, then publish: after every PUT, whether or not the value has changed."""
        flat = boolean(request.query_params, "flatten")
        body = await json_of(request)
        value = _value_of(body)
        key = _key_of(request)
        if flat:
            keys = await self._core.store.run(lambda db: kv.put_flat(db, key, value))
        else:
            keys = [key]
            await self._core.store.run(lambda db: kv.put(db, key, kv.text_of(value)))
        self._announce(KeyValue(key=key, value=value), correlation_of(request))
        return answer(response=keys)

    async def delete(self, request: Request) -> Response:
        recursive = boolean(request.query_params, "prefixMatch")
        key = _key_of(request)
        keys = await self._core.store.run(lambda db: kv.delete(db, key, with_children=recursive))
        if keys is None:
            raise Conflict(f"keys having the same prefix {key} exist and cannot be deleted")
        self._announce(KeyValue(key=key), correlation_of(request))
        return answer(response=keys)

    def _announce(self, change: KeyValue, correlation_id: str) -> None:
        data = codec.encode(change, correlation_id=correlation_id, encoding=self._core.encoding)
        if self._core.bus.publish(config_change(change.key), data) is None:
            log.warning("the change of '%s' was not published: no message broker", change.key)


def _key_of(request: Request) -> str:
    key = name_of(request, "key")
    if not key:
        raise HTTPException(404)
    return kv.check_key(key)


def _value_of(body: Any) -> Any:
    if not isinstance(body, dict):
        raise Invalid(UNREADABLE)
    value = body.get("value")
    if value is None:
        raise Invalid("the value field is undefined")
    if value == {}:
        raise Invalid("the value field is an empty object")
    return value


def _written(pair: kv.Pair, plaintext: bool) -> dict[str, Any]:
    value = pair.value if plaintext else base64.b64encode(pair.value.encode()).decode()
    return {"key": pair.key, "Created": pair.created, "Modified": pair.modified, "value": value}

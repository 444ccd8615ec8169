"""POST /secret of the core services: kept as EdgeX keeps insecure secrets, in core-keeper in the clear (contract 5)."""

from edgex_kit.service.rest import Endpoint, Json
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid, Malformed
from edgex_kit.wire.messages import API, JSON, SecretRequest
from edgex_kit.wire.topics import escape_name
from starlette.requests import Request
from starlette.responses import Response

from edgex_standin.keeper import kv
from edgex_standin.store import Store


def secret_of(store: Store, service: str) -> Endpoint:
    """The endpoint for one service."""

    async def secret(request: Request) -> Response:
        try:
            wanted = codec.convert(codec.decode_body(JSON, await request.body()), SecretRequest)
        except Malformed as error:  # its text could quote the secret
            raise Invalid("JSON decode failed") from error
        values = {pair.key: pair.value for pair in wanted.secret_data}
        if not wanted.secret_name.strip() or not values or not all((*values.keys(), *values.values())):
            raise Invalid("JSON decode failed")
        tree = {"SecretName": wanted.secret_name, "SecretData": values}
        key = f"edgex/v4/{service}/Writable/InsecureSecrets/{escape_name(wanted.secret_name)}"
        await store.run(lambda db: kv.put_flat(db, key, tree))
        head = {"requestId": wanted.request_id} if wanted.request_id else {}
        return Json({"apiVersion": API, **head, "statusCode": 201}, 201)

    return secret

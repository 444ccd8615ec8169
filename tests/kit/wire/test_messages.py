"""The wire's messages: what is written, what is left out, and what is never printed."""

import uuid

import msgspec
from edgex_kit.wire.messages import (
    BaseResponse,
    Reading,
    SecretData,
    SecretRequest,
    new_id,
)


def test_an_id_is_a_fresh_uuid() -> None:
    texts = [new_id() for _ in range(500)]
    ids = [uuid.UUID(text) for text in texts]
    assert len(set(ids)) == 500
    assert [str(it) for it in ids] == texts
    assert all(it.version == 4 and it.variant == uuid.RFC_4122 for it in ids)
    assert all(len({it.int >> bit & 1 for it in ids}) == 2 for bit in (0, 61, 64, 75, 80, 127)), "free bits are random"


def test_a_response_leaves_out_what_it_has_nothing_to_say_about() -> None:
    response = BaseResponse(api_version="v3", status_code=200)
    assert msgspec.to_builtins(response) == {"apiVersion": "v3", "statusCode": 200}
    created = BaseResponse(api_version="v3", status_code=201, id="x", request_id="r")
    assert list(msgspec.to_builtins(created)) == ["apiVersion", "requestId", "statusCode", "id"]


def test_an_absent_value_and_a_null_value_are_different() -> None:
    names = {"origin": 1, "device_name": "d", "resource_name": "r", "value_type": "Uint8"}
    assert "value" not in msgspec.to_builtins(Reading(**names))
    assert msgspec.to_builtins(Reading(**names, value=None))["value"] is None


def test_a_secret_is_not_in_what_is_printed() -> None:
    request = SecretRequest(secret_name="cam", secret_data=(SecretData(key="password", value="hunter22"),))
    for text in (repr(request), str(request), repr(request.secret_data), f"{request.secret_data[0]}"):
        assert "hunter22" not in text

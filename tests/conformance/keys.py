"""core-keeper's keys below EdgeX's root, over plain HTTP."""

import requests

from tests.conformance.peers import WAIT, Core


def key_url(core: Core, path: str) -> str:
    return f"{core.keeper}/api/v3/kvs/key/edgex/v4/{path}"


def put(core: Core, path: str, value: str) -> None:
    assert requests.put(key_url(core, path), json={"value": value}, timeout=WAIT).status_code == 200


def delete(core: Core, path: str) -> None:
    """Everything below `path`."""
    requests.delete(key_url(core, path), params={"prefixMatch": "true"}, timeout=WAIT)


def value(core: Core, path: str) -> str | None:
    answer = requests.get(key_url(core, path), params={"plaintext": "true"}, timeout=WAIT)
    return answer.json()["response"][0]["value"] if answer.status_code == 200 else None

"""core-keeper as configuration provider and registry."""

import contextlib

import pytest
from edgex_kit.clients.keeper import Keeper
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service.rest import build_app, common_routes
from edgex_kit.service.server import open_server
from edgex_kit.wire.errors import NotFound, Unavailable
from edgex_standin.address import free_port

pytestmark = pytest.mark.integration


async def test_a_key_is_stored_read_and_deleted(keeper: Keeper, unique: str) -> None:
    key = f"edgex/v4/{unique}/Writable/LogLevel"
    assert await keeper.values(key) == {}
    await keeper.put(key, "DEBUG")
    assert await keeper.values(key) == {key: "DEBUG"}
    await keeper.put(key, "")
    assert await keeper.values(key) == {key: ""}
    await keeper.delete(key)
    assert await keeper.values(key) == {}
    with pytest.raises(NotFound):
        await keeper.delete(key)


async def test_all_keys_below_a_prefix_are_read_and_no_neighbours(keeper: Keeper, unique: str) -> None:
    for key in ("A/B", "A/C", "AA/B"):
        await keeper.put(f"edgex/v4/{unique}/{key}", key)
    assert await keeper.values(f"edgex/v4/{unique}/A") == {
        f"edgex/v4/{unique}/A/B": "A/B",
        f"edgex/v4/{unique}/A/C": "A/C",
    }
    await keeper.delete(f"edgex/v4/{unique}")
    assert await keeper.values(f"edgex/v4/{unique}") == {}


async def test_a_service_is_registered_found_and_marked_as_gone(keeper: Keeper, unique: str) -> None:
    with pytest.raises(NotFound):
        await keeper.find(unique)
    app = build_app(common_routes(unique, dict, Secrets(unique, dict, None)), ServiceSection())
    async with open_server(app, "127.0.0.1", 0) as port:
        await keeper.register(unique, "127.0.0.1", port, "200ms")
        assert await found(keeper, unique) == f"http://127.0.0.1:{port}"
        await keeper.register(unique, "127.0.0.1", port, "200ms")
        assert await found(keeper, unique) == f"http://127.0.0.1:{port}"
    await keeper.deregister(unique, "127.0.0.1", port, "200ms")
    with pytest.raises(Unavailable, match="is unregistered in the registry"):
        await keeper.find(unique)


async def found(keeper: Keeper, service: str) -> str:
    """Where a service is, once core-keeper has seen that it is healthy."""
    for _ in range(500):
        with contextlib.suppress(Unavailable):
            return await keeper.find(service)
    pytest.fail("never healthy")


async def test_a_service_that_does_not_answer_is_not_healthy(keeper: Keeper, unique: str) -> None:
    await keeper.register(unique, "127.0.0.1", free_port("127.0.0.1"), "10s")
    with pytest.raises(Unavailable, match=f"{unique} is not healthy"):
        await keeper.find(unique)


def test_the_port_is_edgex_own_when_the_url_names_none() -> None:
    keeper = Keeper("http://edgex-core-keeper")
    assert (keeper.host, keeper.port) == ("edgex-core-keeper", 59890)
    keeper.close()

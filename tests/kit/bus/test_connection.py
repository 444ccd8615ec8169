"""The section MessageBus as a connection, and credentials that change while we run."""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from edgex_kit.bus.bus import BusSettings, open_bus
from edgex_kit.bus.connection import bus_settings, keep_credentials, open_connection
from edgex_kit.clients.keeper import Keeper
from edgex_kit.clients.secrets import Secrets
from edgex_kit.clients.secretstore import Kept, SecretStore, StoreAddress
from edgex_kit.config import layers as config
from edgex_kit.config.settings import InsecureSecret, Settings
from edgex_kit.wire.errors import Invalid, NotFound
from edgex_standin.address import Address

from tests.kit.brokers import Certificates, a_failed_handshake, settings_of

Until = Callable[..., Awaitable[None]]


def test_the_client_id_is_the_service_key_unless_another_is_configured() -> None:
    assert settings_of().client_id == "device-cam"
    assert settings_of(optional={"ClientId": ""}).client_id == "device-cam"
    assert settings_of(optional={"ClientId": "mine"}).client_id == "mine"


async def test_a_disabled_message_bus_connects_to_nobody_and_needs_no_secret() -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        bus = {"Disabled": "true", "Host": "127.0.0.1", "Port": broker.getsockname()[1], "AuthMode": "usernamepassword"}
        settings = config.check(Settings, ("file", {"MessageBus": bus}))
        broker.settimeout(0.3)
        async with open_connection(settings, Secrets("cam", dict, None), "device-cam") as bus_of_none:
            bus_of_none.subscribe("edgex/#", lambda _: None)
            assert bus_of_none.publish("edgex/x", b"") is None
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(broker.accept)


def test_edgex_defaults_are_ours() -> None:
    assert settings_of() == BusSettings(client_id="device-cam")


def test_options_are_read_from_text() -> None:
    options = {"Qos": "1", "Retained": "true", "KeepAlive": "20", "ConnectTimeout": "3"}
    found = settings_of(optional=options, Host="edge", Port=1884)
    assert (found.host, found.port, found.qos, found.retained) == ("edge", 1884, 1, True)
    assert (found.keep_alive, found.connect_timeout) == (20, 3)


def test_name_and_password_come_from_the_secret() -> None:
    found = settings_of({"username": "u", "password": "hunter22"}, AuthMode="usernamepassword")
    assert (found.username, found.password) == ("u", "hunter22")
    assert "hunter22" not in repr(found)
    assert settings_of({"username": "u", "password": "p"}).username == ""


@pytest.mark.parametrize(
    ("bus", "optional", "cause"),
    [
        ({"Type": "nats-core"}, {}, "MessageBus.Type 'nats-core' is not known here; use mqtt"),
        ({"AuthMode": "magic"}, {}, "MessageBus.AuthMode 'magic' is none of"),
        ({}, {"Qos": "high"}, "MessageBus.Optional.Qos 'high' is no whole number"),
        ({"Protocol": "tls"}, {"CaFile": "/nowhere.pem"}, "certificates cannot be used: .*No such file"),
        ({"Protocol": "tls"}, {"CaPEMBlock": "-----BEGIN"}, "certificates cannot be used"),
        ({"Protocol": "tls"}, {"CertPEMBlock": "x", "KeyPEMBlock": "y"}, "certificates cannot be used"),
    ],
)
def test_what_cannot_be_spoken_is_named(bus: dict[str, Any], optional: dict[str, Any], cause: str) -> None:
    with pytest.raises(Invalid, match=cause):
        settings_of(optional=optional, **bus)


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(NotFound, match="no secret named 'mqtt-bus'"):
        settings_of(AuthMode="usernamepassword")


def test_tls_is_used_only_where_the_protocol_says_so() -> None:
    assert settings_of(Protocol="tcp").tls is None
    assert settings_of(Protocol="mqtt").tls is None
    assert settings_of(Protocol="tcps").tls is not None


async def test_a_start_without_the_secret_names_a_place_for_it_that_needs_no_running_service(keeper: Keeper) -> None:
    settings = config.check(Settings, ("file", {"MessageBus": {"AuthMode": "usernamepassword"}}))
    store = SecretStore("cam", StoreAddress("http://127.0.0.1:1", Path("none"), "http://127.0.0.1:1"))
    for secrets, place in (
        (Secrets("cam", dict, keeper), "core-keeper under edgex/v4/cam/Writable/InsecureSecrets/mqtt-bus, with Secret"),
        (Secrets("cam", dict, None), "the configuration file under Writable/InsecureSecrets/mqtt-bus, with SecretName"),
        (Secrets("cam", dict, None, Kept(store)), "a file that SECRETSTORE_SECRETSFILE names"),
    ):
        with pytest.raises(NotFound, match=r"no secret named 'mqtt-bus' for .*; store it in ") as raised:
            async with open_connection(settings, secrets, "cam"):
                pass
        assert place in str(raised.value)
    store.close()


# -- credentials that change while we run


@a_failed_handshake
async def test_a_new_password_takes_effect_and_subscriptions_stay(guarded_broker: Address) -> None:
    where = {"Host": "127.0.0.1", "Port": guarded_broker.port, "AuthMode": "usernamepassword"}
    wrong = settings_of({"username": "old", "password": "second-word"}, **where)
    async with open_bus(wrong) as bus, bus.messages("door/#") as heard:
        assert not await bus.settle(0.5)
        for name, password in (("new", "second-word"), ("old", "first-word")):
            await bus.enter_as(settings_of({"username": name, "password": password}, **where))
            assert await bus.settle(10)
            bus.publish("door/bell", name.encode())
            assert (await anext(heard)).data == name.encode()
    gc.collect()


@a_failed_handshake
async def test_a_stored_secret_takes_effect_and_a_useless_one_does_not(
    guarded_broker: Address, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    known = {"any": InsecureSecret(secret_name="mqtt-bus", secret_data={"username": "old", "password": "first-word"})}
    secrets = Secrets("cam", lambda: known, None)
    where = {"Host": "127.0.0.1", "Port": guarded_broker.port, "AuthMode": "usernamepassword"}
    settings = config.check(Settings, ("file", {"MessageBus": where}))
    async with open_bus(bus_settings(settings, secrets, "device-cam")) as bus:
        assert await bus.settle(10)
        keeping = asyncio.create_task(keep_credentials(bus, secrets, lambda: bus_settings(settings, secrets, "cam")))
        known = {}
        secrets.look()
        await until(lambda: "the old ones stay: no secret named 'mqtt-bus'" in caplog.text)
        new = {"username": "new", "password": "second-word"}
        known = {"any": InsecureSecret(secret_name="mqtt-bus", secret_data=new)}
        secrets.look()
        await until(lambda: bus.settings.username == "new")
        assert await bus.settle(10)
        assert bus.connects == 2
        assert "second-word" not in caplog.text
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert not secrets._listeners
    gc.collect()


@a_failed_handshake
async def test_a_new_certificate_takes_effect(strict_broker: Address, certificates: Certificates) -> None:
    authority = {"cacert": certificates.text("ca.crt")}
    client = {"clientcert": certificates.text("client.crt"), "clientkey": certificates.text("client.key")}
    where = {"Protocol": "tls", "Host": "localhost", "Port": strict_broker.port, "AuthMode": "clientcert"}
    async with open_bus(settings_of(authority, **where)) as bus:
        assert not await bus.settle(0.5)
        await bus.enter_as(settings_of({**authority, **client}, **where))
        assert await bus.settle(10)
    gc.collect()

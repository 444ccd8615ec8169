"""The section MessageBus as a connection, why one fails, and credentials that change while we run."""

import asyncio
import contextlib
import gc
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from edgex_kit.bus.bus import follow_credentials, open_bus, open_configured_bus
from edgex_kit.bus.connection import BusSettings, bus_settings, why_refused, why_unreachable
from edgex_kit.clients.keeper import Keeper
from edgex_kit.clients.secrets import Secrets
from edgex_kit.clients.secretstore import SecretStore, StoreAddress, StoredSecrets
from edgex_kit.config import layers as config
from edgex_kit.config.settings import InsecureSecret, Settings
from edgex_kit.wire.errors import Invalid, NotFound
from edgex_standin.address import Address, free_port

from tests.kit.brokers import Certificates, a_failed_handshake, run_mosquitto, settings_of

pytestmark = pytest.mark.integration

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
        async with open_configured_bus(settings, Secrets("cam", dict, None), "device-cam") as bus_of_none:
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
        (Secrets("cam", dict, None, StoredSecrets(store)), "a file that SECRETSTORE_SECRETSFILE names"),
    ):
        with pytest.raises(NotFound, match=r"no secret named 'mqtt-bus' for .*; store it in ") as raised:
            async with open_configured_bus(settings, secrets, "cam"):
                pass
        assert place in str(raised.value)
    store.close()


# -- credentials that change while we run


@a_failed_handshake
async def test_a_new_password_takes_effect_and_subscriptions_stay(guarded_broker: Address) -> None:
    where = {"Host": "127.0.0.1", "Port": guarded_broker.port, "AuthMode": "usernamepassword"}
    wrong = settings_of({"username": "old", "password": "second-word"}, **where)
    async with open_bus(wrong) as bus, bus.messages("t/#") as heard:
        assert not await bus.settle(0.5)
        for name, password in (("new", "second-word"), ("old", "first-word")):
            await bus.reconnect_as(settings_of({"username": name, "password": password}, **where))
            assert await bus.settle(10)
            bus.publish("t/x", name.encode())
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
        keeping = asyncio.create_task(follow_credentials(bus, secrets, lambda: bus_settings(settings, secrets, "cam")))
        known = {}
        secrets.check()
        await until(lambda: "the old ones stay: no secret named 'mqtt-bus'" in caplog.text)
        new = {"username": "new", "password": "second-word"}
        known = {"any": InsecureSecret(secret_name="mqtt-bus", secret_data=new)}
        secrets.check()
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
        await bus.reconnect_as(settings_of({**authority, **client}, **where))
        assert await bus.settle(10)
    gc.collect()


# -- certificates and passwords


Until = Callable[..., Awaitable[None]]


async def connects(settings: BusSettings) -> bool:
    try:
        async with open_bus(settings) as bus:
            return await bus.settle(1.5)
    finally:
        gc.collect()


@a_failed_handshake
async def test_a_client_certificate_in_the_secret_is_accepted(
    strict_broker: Address, certificates: Certificates
) -> None:
    secret = {
        "cacert": certificates.text("ca.crt"),
        "clientcert": certificates.text("client.crt"),
        "clientkey": certificates.text("client.key"),
    }
    where = {"Protocol": "tls", "Host": "localhost", "Port": strict_broker.port}
    assert await connects(settings_of(secret, AuthMode="clientcert", **where))
    assert not await connects(settings_of({"cacert": secret["cacert"]}, AuthMode="cacert", **where))


async def test_a_client_certificate_in_files_is_accepted(strict_broker: Address, certificates: Certificates) -> None:
    files = {
        "CaFile": certificates.path("ca.crt"),
        "CertFile": certificates.path("client.crt"),
        "KeyFile": certificates.path("client.key"),
    }
    assert await connects(settings_of(optional=files, Protocol="tls", Host="localhost", Port=strict_broker.port))


@a_failed_handshake
async def test_an_unknown_authority_is_refused_unless_checking_is_turned_off(
    strict_broker: Address, certificates: Certificates
) -> None:
    client = {"CertFile": certificates.path("client.crt"), "KeyFile": certificates.path("client.key")}
    where = {"Protocol": "ssl", "Host": "localhost", "Port": strict_broker.port}
    assert not await connects(settings_of(optional=client, **where))
    assert await connects(settings_of(optional={**client, "SkipCertVerify": "true"}, **where))


# -- the cause when it is refused


async def cause_of(settings: BusSettings, caplog: pytest.LogCaptureFixture, until: Until) -> str:
    """The one line about a broker that cannot be entered, said once though several attempts were made."""
    caplog.clear()
    try:
        await several_attempts(settings, until)
    finally:
        gc.collect()
    (line,) = caplog.messages
    return line.replace(str(settings.port), "8883")


async def several_attempts(settings: BusSettings, until: Until) -> None:
    attempts: list[None] = []

    def attempt(_client: object, _data: object) -> None:
        attempts.append(None)

    async with open_bus(settings) as bus:
        bus._client.on_pre_connect = attempt
        bus._client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]
        await until(lambda: len(attempts) > 2)


def tls_broker(folder: Path, certificates: Certificates, name: str) -> contextlib.AbstractContextManager[Address]:
    pair = (f"certfile {certificates.path(f'{name}.crt')}", f"keyfile {certificates.path(f'{name}.key')}")
    return run_mosquitto(folder, "allow_anonymous true", *pair)


@a_failed_handshake
async def test_a_broker_that_is_not_trusted_is_said_with_the_cause(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    authority = {"cacert": certificates.text("ca.crt")}
    foreign = certificates.make("foreign", "elsewhere")
    try:
        ended = certificates.make(
            "ended", "localhost", "-not_before", "20200101000000Z", "-not_after", "20200201000000Z"
        )
    except subprocess.CalledProcessError:  # OpenSSL before 3.4 sets no times, but ends a certificate before it begins
        ended = certificates.make("ended", "localhost", "-days", "-1")
    where = {"Protocol": "tls", "Host": "localhost", "AuthMode": "cacert"}
    for name, secret, cause in (
        ("broker", {"cacert": certificates.text("client.crt")}, "unable to get local issuer certificate"),
        ("broker", {"note": "x"}, "unable to get local issuer certificate; the secret 'mqtt-bus' has no cacert"),
        (foreign, authority, "Hostname mismatch, certificate is not valid for 'localhost'"),
        (ended, authority, "certificate has expired"),
    ):
        with tls_broker(tmp_path, certificates, name) as address:
            said = await cause_of(settings_of(secret, Port=address.port, **where), caplog, until)
        assert said == f"the broker at localhost:8883 is not trusted: {cause}; trying again until it is back"


@a_failed_handshake
async def test_a_broker_that_wants_a_certificate_or_tls_is_said_so(
    strict_broker: Address, certificates: Certificates, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    where = {"Host": "localhost", "Port": strict_broker.port}
    plain = await cause_of(settings_of(**where), caplog, until)
    assert "the broker at localhost:8883 ends the connection before it answers; it may want TLS" in plain
    halves = {"cacert": certificates.text("ca.crt"), "clientcert": certificates.text("client.crt"), "clientkey": ""}
    caplog.clear()
    await several_attempts(settings_of(halves, AuthMode="clientcert", Protocol="tls", **where), until)
    gc.collect()
    # the broker's end of the connection may overtake its reason
    assert "certificate required;" in caplog.text or "it may want a client certificate;" in caplog.text
    assert "; the secret 'mqtt-bus' has no clientkey; trying" in caplog.text
    assert "BEGIN" not in caplog.text


@a_failed_handshake
async def test_a_user_who_is_refused_is_said_with_the_secret(
    guarded_broker: Address, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    where = {"Host": "localhost", "Port": guarded_broker.port}
    for secret, mode, cause in (
        (
            {"username": "old", "password": "wrong-word"},
            "usernamepassword",
            "the user of secret 'mqtt-bus': Not authorized",
        ),
        ({"username": "old"}, "usernamepassword", "Not authorized; the secret 'mqtt-bus' has no password"),
        (None, "none", "a client without a user name: Not authorized"),
    ):
        said = await cause_of(settings_of(secret, AuthMode=mode, **where), caplog, until)
        assert said.startswith("the broker at localhost:8883 refuses ")
        assert f"{cause}; trying again" in said
        assert "wrong-word" not in said


@a_failed_handshake
async def test_no_broker_at_all_is_said_with_what_the_network_says(
    caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    said = await cause_of(settings_of(Host="127.0.0.1", Port=free_port("127.0.0.1")), caplog, until)
    assert said == "no message broker at 127.0.0.1:8883 (Connection refused); trying again until it is back"


def test_the_secret_is_blamed_only_for_what_comes_from_it() -> None:
    elsewhere = {"Username": "u", "Password": "p"}
    user = settings_of({"cacert": "x"}, optional=elsewhere, AuthMode="cacert")
    assert "refuses the user of MessageBus.Optional: no" in why_refused(user, "no")
    whole = settings_of({"username": "u"}, optional=elsewhere, AuthMode="usernamepassword")
    assert why_refused(whole, "no").endswith("refuses the user of secret 'mqtt-bus': no")
    half = settings_of({"username": "u"}, AuthMode="usernamepassword")
    assert why_refused(half, "no").endswith("no; the secret 'mqtt-bus' has no password")
    fault = ssl.SSLError(1, "not TLS")
    fault.reason = "WRONG_VERSION_NUMBER"
    assert why_unreachable(half, fault) == "no TLS with the broker at localhost:1883: wrong version number"

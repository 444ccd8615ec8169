"""A broker with certificates or passwords: who is let in, and the cause when the door stays shut."""

import contextlib
import gc
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from edgex_kit.bus.broker_connection import why_refused, why_unreachable
from edgex_kit.bus.bus import BusSettings, open_bus
from edgex_standin.address import Address, free_port

from tests.kit.brokers import Certificates, a_failed_handshake, run_mosquitto, settings_of

Until = Callable[..., Awaitable[None]]


async def is_let_in(settings: BusSettings) -> bool:
    try:
        async with open_bus(settings) as bus:
            return await bus.settle(1.5)
    finally:
        gc.collect()


@a_failed_handshake
async def test_a_client_certificate_in_the_secret_opens_the_door(
    strict_broker: Address, certificates: Certificates
) -> None:
    secret = {
        "cacert": certificates.text("ca.crt"),
        "clientcert": certificates.text("client.crt"),
        "clientkey": certificates.text("client.key"),
    }
    where = {"Protocol": "tls", "Host": "localhost", "Port": strict_broker.port}
    assert await is_let_in(settings_of(secret, AuthMode="clientcert", **where))
    assert not await is_let_in(settings_of({"cacert": secret["cacert"]}, AuthMode="cacert", **where))


async def test_a_client_certificate_in_files_opens_the_door(strict_broker: Address, certificates: Certificates) -> None:
    files = {
        "CaFile": certificates.path("ca.crt"),
        "CertFile": certificates.path("client.crt"),
        "KeyFile": certificates.path("client.key"),
    }
    assert await is_let_in(settings_of(optional=files, Protocol="tls", Host="localhost", Port=strict_broker.port))


@a_failed_handshake
async def test_an_unknown_authority_is_refused_unless_checking_is_turned_off(
    strict_broker: Address, certificates: Certificates
) -> None:
    client = {"CertFile": certificates.path("client.crt"), "KeyFile": certificates.path("client.key")}
    where = {"Protocol": "ssl", "Host": "localhost", "Port": strict_broker.port}
    assert not await is_let_in(settings_of(optional=client, **where))
    assert await is_let_in(settings_of(optional={**client, "SkipCertVerify": "true"}, **where))


# -- the cause when the door stays shut


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
        (None, "none", "who shows no user: Not authorized"),
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

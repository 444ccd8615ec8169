"""The section MessageBus as a connection, with passwords and certificates."""

import asyncio
import contextlib
import gc
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from edgex_kit import config
from edgex_kit.bus import BusSettings, open_bus
from edgex_kit.connection import bus_settings, keep_credentials, open_connection
from edgex_kit.errors import Invalid, NotFound
from edgex_kit.keeper import Keeper
from edgex_kit.secrets import Secrets
from edgex_kit.secretstore import Kept, SecretStore, StoreAddress
from edgex_kit.settings import InsecureSecret, Settings
from edgex_kit.standin.address import Address, free_port, wait_until_it_listens
from edgex_kit.standin.mosquitto import find_mosquitto

Until = Callable[..., Awaitable[None]]


def settings_of(
    secret: dict[str, str] | None = None, optional: dict[str, Any] | None = None, **bus: Any
) -> BusSettings:
    tree = {"MessageBus": {**bus, "Optional": optional or {}}}
    if secret is not None:
        tree["Writable"] = {"InsecureSecrets": {"any": {"SecretName": "mqtt-bus", "SecretData": secret}}}
    settings = config.check(Settings, ("file", tree))
    return bus_settings(settings, Secrets("cam", lambda: settings.writable.insecure_secrets, None), "device-cam")


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


# -- a broker that wants certificates


class Certificates:
    """An authority, and certificates of it for a broker and for a client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._openssl("req", "-x509", *self._new("ca"), "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority")
        for name, subject in (("broker", "/CN=localhost"), ("client", "/CN=device-cam")):
            self._openssl("req", *self._new(name), "-out", f"{name}.csr", "-subj", subject)
            (folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
            self._sign(name)

    def make(self, name: str, host: str, *times: str) -> str:
        """One more for a broker: for another host, or with `-not_before` and `-not_after` of its own."""
        self._openssl("req", *self._new(name), "-out", f"{name}.csr", "-subj", f"/CN={host}")
        (self._folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}")
        self._sign(name, *times)
        return name

    def _sign(self, name: str, *times: str) -> None:
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.crt", *(times or ("-days", "2")), "-extfile", f"{name}.ext"),
        )

    def text(self, name: str) -> str:
        return (self._folder / name).read_text()

    def path(self, name: str) -> str:
        return str(self._folder / name)

    @staticmethod
    def _new(name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True, timeout=20)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    try:
        return Certificates(tmp_path_factory.mktemp("certificates"))
    except FileNotFoundError:
        pytest.skip("openssl is not installed")


@contextlib.contextmanager
def run_mosquitto(folder: Path, *lines: str) -> Iterator[Address]:
    """A mosquitto with a configuration of its own, mosquitto.conf(5), for the length of the block."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    address = Address("127.0.0.1", free_port("127.0.0.1"))
    file = folder / "mosquitto.conf"
    file.write_text("\n".join((f"listener {address.port} 127.0.0.1", "user root", *lines, "")))
    process = subprocess.Popen([str(program), "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_listens(address, lambda: process.poll() is None, 10)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def strict_broker(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A mosquitto that speaks TLS and lets in who shows a certificate."""
    with run_mosquitto(
        tmp_path_factory.mktemp("broker"),
        "allow_anonymous true",
        "require_certificate true",
        f"cafile {certificates.path('ca.crt')}",
        f"certfile {certificates.path('broker.crt')}",
        f"keyfile {certificates.path('broker.key')}",
    ) as address:
        yield address


# paho leaves the socket of a failed handshake, and of a farewell, to the garbage collector
a_failed_handshake = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[Address]:
    """A mosquitto that knows `cam` by two passwords, as two users: the old one and the new."""
    if find_mosquitto() is None:  # mosquitto_passwd comes with it
        pytest.skip("mosquitto is not installed")
    passwords = tmp_path / "passwords"
    passwords.write_text("old:first-word\nnew:second-word\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True, timeout=20)
    passwords.chmod(0o600)
    with run_mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as address:
        yield address


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

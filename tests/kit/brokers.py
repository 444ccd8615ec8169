"""Brokers of a test's own: one that wants certificates, one that wants passwords, one that may be killed."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from edgex_kit.bus.connection import BusSettings, bus_settings
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config import layers as config
from edgex_kit.config.settings import Settings
from edgex_standin.address import Address, free_port, wait_until_it_listens
from edgex_standin.broker.mosquitto import find_mosquitto

# paho leaves the socket of a failed handshake, and of a farewell, to the garbage collector
a_failed_handshake = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def settings_of(
    secret: dict[str, str] | None = None, optional: dict[str, Any] | None = None, **bus: Any
) -> BusSettings:
    tree = {"MessageBus": {**bus, "Optional": optional or {}}}
    if secret is not None:
        tree["Writable"] = {"InsecureSecrets": {"any": {"SecretName": "mqtt-bus", "SecretData": secret}}}
    settings = config.check(Settings, ("file", tree))
    return bus_settings(settings, Secrets("cam", lambda: settings.writable.insecure_secrets, None), "device-cam")


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


class Killable:
    """A mosquitto that a test may kill -9 and start again on the same port."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.address = Address("127.0.0.1", free_port("127.0.0.1"))
        self._command = [str(program), "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text(
            f"listener {self.address.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

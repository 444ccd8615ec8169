"""A headless Chromium for tests of the page."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from edgex_standin.address import Address, free_port

from tests.conformance.peers import until

LOOPBACK = "127.0.0.1"
START_WAIT = 40.0  # seconds
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "force-device-scale-factor=1"),
)


class Browser:
    """A headless Chromium behind chromedriver, which speaks W3C WebDriver: plain HTTP that needs no library."""

    def __init__(self, address: Address, profile: Path) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        options = {"binary": CHROMIUM, "args": [*(f"--{flag}" for flag in FLAGS), f"--user-data-dir={profile}"]}
        self._root = f"{address.url}/session"
        opened = self._post("", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self._root += f"/{opened['sessionId']}"

    def close(self) -> None:
        self._http.delete(self._root, timeout=20)
        self._http.close()

    def open(self, url: str, width: int = 1280, scheme: str = "light") -> None:
        """Show a page on a screen that is `width` CSS pixels wide."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", screen)
        self._devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What a function body returns in the page."""
        return self._post("/execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """What a person reads in the first element of that selector; empty where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def _devtools(self, command: str, parameters: object) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: object) -> Any:
        answer = self._http.post(self._root + path, json=body, timeout=30).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser for the length of the block; skips the test where there is none."""
    if not CHROMIUM or not CHROMEDRIVER:
        pytest.skip("chromium or chromedriver is not installed")
    address = Address(LOOPBACK, free_port(LOOPBACK))
    driver = subprocess.Popen([CHROMEDRIVER, f"--port={address.port}", "--silent"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _answers(f"{address.url}/status", driver), "chromedriver answers", START_WAIT)
        with contextlib.closing(Browser(address, profile)) as browser:
            yield browser
    finally:
        driver.terminate()
        driver.wait(15)


def _answers(url: str, driver: "subprocess.Popen[bytes]") -> bool:
    assert driver.poll() is None, "chromedriver has ended"
    with contextlib.suppress(requests.ConnectionError, requests.Timeout):
        return requests.get(url, timeout=2).ok
    return False

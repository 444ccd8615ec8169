"""amqtt, the broker for machines without mosquitto: on its own thread, with its own event loop.

It costs about ten times mosquitto's CPU; good for up to some hundred pictures a second, and not for measuring.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Literal

from edgex_kit.wire.errors import Unavailable

from edgex_standin.address import Address

START_WAIT = 10.0  # seconds
STOP_WAIT = 10.0  # seconds
_ANONYMOUS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


class Amqtt:
    """amqtt, running on our thread "broker"."""

    kind: Literal["embedded"] = "embedded"

    def __init__(self, address: Address) -> None:
        self.address = address
        self._settled = threading.Event()  # up, or failed
        self._stop = threading.Event()
        self._failure = "it did not come up in time"
        self._up = False
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._settled.wait(START_WAIT)
        if not self._up:
            raise Unavailable(f"the embedded broker cannot listen on {self.address}: {self._failure}")

    def revive(self) -> None:
        """It lives as long as we do."""

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(STOP_WAIT)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - whatever amqtt raises, `start` says it in one line
            self._failure = str(error)
        self._settled.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker
        from amqtt.contexts import BrokerConfig, ListenerConfig

        listener = ListenerConfig(bind=str(self.address))
        broker = Broker(BrokerConfig(listeners={"default": listener}, plugins=dict(_ANONYMOUS)))
        await broker.start()
        self._up = True
        self._settled.set()
        try:
            while not self._stop.is_set():
                await asyncio.sleep(0.1)
        finally:
            await broker.shutdown()
            await asyncio.sleep(0.05)  # turns of the loop in which the connections it closed really close


@contextlib.contextmanager
def open_amqtt(address: Address) -> Iterator[Amqtt]:
    """amqtt for the length of the block. Raises Unavailable without the package, or when it cannot listen."""
    try:
        import amqtt  # noqa: F401
    except ImportError as error:
        text = "no MQTT broker here: install mosquitto, or amqtt with pip install 'edgex-kit[standin]'"
        raise Unavailable(text) from error
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it logs a traceback whenever a client just goes away
    broker = Amqtt(address)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()

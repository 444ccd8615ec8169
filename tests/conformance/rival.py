"""A client of the bus that has the name of a service, and so its place."""

import threading
from collections.abc import Callable

import paho.mqtt.client as paho

from tests.conformance.peers import WAIT, Core, until


def take_over(core: Core, client_id: str, is_lost: Callable[[], bool]) -> None:
    """Be the client of that name until its service `is_lost`: MQTT has the broker end the older connection."""
    connected = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id)
    client.on_connect = lambda *_: connected.set()
    client.connect(*core.broker)
    client.loop_start()
    assert connected.wait(WAIT)
    until(is_lost, "the service has lost its connection")
    client.disconnect()
    client.loop_stop()

"""The MQTT broker beside the core: mosquitto where it is installed, else amqtt, or an external one.

mosquitto is a process of its own, amqtt a thread of its own.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from edgex_kit.wire.errors import Invalid, Unavailable

from edgex_standin.address import Address, free_port, refuse_if_taken
from edgex_standin.broker.amqtt_broker import open_amqtt
from edgex_standin.broker.mosquitto import find_mosquitto, open_mosquitto

log = logging.getLogger(__name__)

CHOICES = ("auto", "mosquitto", "embedded")
REMEDY = "stop what uses it, or use that broker with --broker <host>:<port>"
TRIES = 5  # free ports, of which another process may take one before the broker does


class Broker(Protocol):
    """A broker that answers at `address`."""

    @property
    def kind(self) -> str: ...

    @property
    def address(self) -> Address: ...

    def revive(self) -> None:
        """Start it again if it has died. Blocking, from the thread that opened it."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An external broker."""

    address: Address
    kind: str = "external"

    def revive(self) -> None:
        """Not ours to start."""


@contextlib.contextmanager
def open_broker(choice: str, host: str, port: int) -> Iterator[Broker]:
    """The broker that `choice` names (auto, mosquitto, embedded, or <host>:<port>) for the length of the block.

    `port` 0 takes a free one. Raises Unavailable for a taken port or a missing program, Invalid for any other choice.
    """
    if choice not in CHOICES:
        yield Elsewhere(_parse(choice))
        return
    with contextlib.ExitStack() as stack:
        yield _enter_fixed(stack, choice, Address(host, port)) if port else _enter_free(stack, choice, host)


def _enter_fixed(stack: contextlib.ExitStack, choice: str, address: Address) -> Broker:
    refuse_if_taken(address, REMEDY)
    return stack.enter_context(_open_own(choice, address))


def _enter_free(stack: contextlib.ExitStack, choice: str, host: str) -> Broker:
    """A broker on a free port; on another when the port was taken since it was found."""
    for _ in range(TRIES - 1):
        address = Address(host, free_port(host))
        try:
            return _enter_fixed(stack, choice, address)
        except Unavailable as error:
            if not _is_taken(address):
                raise
            log.debug("%s was taken before the broker had it; trying another port: %s", address, error)
    return _enter_fixed(stack, choice, Address(host, free_port(host)))


def _is_taken(address: Address) -> bool:
    try:
        refuse_if_taken(address, REMEDY)
    except Unavailable:
        return True
    return False


def _open_own(choice: str, address: Address) -> contextlib.AbstractContextManager[Broker]:
    program = find_mosquitto()
    if choice == "mosquitto" and program is None:
        raise Unavailable("mosquitto is not installed; install it, or start with --broker embedded")
    if choice == "embedded" or program is None:
        return open_amqtt(address)
    return open_mosquitto(program, address)


def _parse(choice: str) -> Address:
    host, _, port = choice.rpartition(":")
    if not host or not port.isdecimal():
        raise Invalid(f"broker '{choice}' is none of {', '.join(CHOICES)} or <host>:<port>")
    return Address(host.strip("[]"), int(port))

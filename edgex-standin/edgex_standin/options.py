"""The command line of `edgex-standin`."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgex_kit.wire.durations import parse_duration

from edgex_standin.core import COMMAND, DATA, KEEPER, METADATA

STANDARD_PORTS = {KEEPER: 59890, METADATA: 59881, DATA: 59880, COMMAND: 59882}


@dataclass(frozen=True, slots=True)
class Options:
    """How the stand-in was asked to run."""

    host: str
    advertise: str
    ports: dict[str, int]
    broker: str
    broker_port: int
    state: str
    base_topic: str
    escape_names: bool
    request_timeout: str
    keep_events: int
    keep_megabytes: int
    announce: bool


def parse_options(argv: Sequence[str] | None = None) -> Options:
    known = _parser().parse_args(argv)
    parse_duration(known.request_timeout)
    ports = {name: getattr(known, f"{name.removeprefix('core-')}_port") for name in STANDARD_PORTS}
    return Options(
        host=known.host,
        advertise=known.advertise or ("localhost" if known.host in ("127.0.0.1", "0.0.0.0") else known.host),  # noqa: S104
        ports=ports,
        broker=known.broker,
        broker_port=known.broker_port,
        state=known.state or default_state(),
        base_topic=known.base_topic,
        escape_names=known.escape_names,
        request_timeout=known.request_timeout,
        keep_events=known.keep_events,
        keep_megabytes=known.keep_megabytes,
        announce=known.announce,
    )


def default_state() -> str:
    """Where a person's programs keep their data (XDG Base Directory)."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return str((Path(data) / "edgex-standin").expanduser())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgex-standin",
        description="EdgeX 4.0's core in one process: core-keeper, core-metadata, core-data, core-command and an MQTT "
        "broker, for machines without Docker and for tests. No security, one process, not for production.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--advertise", default="", metavar="HOST", help="name others are told to find us by; empty is localhost")
    for name, port in STANDARD_PORTS.items():
        add(f"--{name.removeprefix('core-')}-port", type=int, default=port, metavar="PORT", help=f"{name}; 0 is any")
    add("--broker", default="auto", metavar="CHOICE",
        help="auto, mosquitto, embedded, or <host>:<port> of one that runs already")  # fmt: skip
    add("--broker-port", type=int, default=1883, metavar="PORT", help="port of our broker; 0 is any")
    add(
        "--state", default="", metavar="FOLDER", help=f"where to remember; :memory: forgets; empty is {default_state()}"
    )
    add("--base-topic", default="edgex", metavar="TOPIC", help="MessageBus.BaseTopicPrefix")
    add("--escape-names", action="store_true", help="Service.EnableNameFieldEscape")
    add("--request-timeout", default="5s", metavar="TIME", help="Service.RequestTimeout")
    add("--keep-events", type=int, default=10_000, metavar="N", help="events core-data keeps, the newest")
    add("--keep-megabytes", type=int, default=256, metavar="N", help="of readings that core-data keeps, the newest")
    add("--announce", "--json", action="store_true", help="say where everything is as one line of JSON on stdout")
    return parser

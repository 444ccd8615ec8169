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
    """Exits with a message for a wrong command line. Raises Invalid for a time that is none."""
    known = vars(_parser().parse_args(argv))
    parse_duration(known["request_timeout"])
    ports = {name: known.pop(f"{name.removeprefix('core-')}_port") for name in STANDARD_PORTS}
    is_local = known["host"] in ("127.0.0.1", "0.0.0.0")  # noqa: S104
    known["advertise"] = known["advertise"] or ("localhost" if is_local else known["host"])
    known["state"] = known["state"] or default_state()
    return Options(ports=ports, **known)


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
    add("--advertise", default="", metavar="HOST", help="host name that is announced to clients; empty is localhost")
    for name, port in STANDARD_PORTS.items():
        add(f"--{name.removeprefix('core-')}-port", type=int, default=port, metavar="PORT", help=f"{name}; 0 is any")
    add("--broker", default="auto", metavar="CHOICE",
        help="auto, mosquitto, embedded, or <host>:<port> of one that runs already")  # fmt: skip
    add("--broker-port", type=int, default=1883, metavar="PORT", help="port of our broker; 0 is any")
    add(
        "--state",
        default="",
        metavar="FOLDER",
        help=f"folder of the state; :memory: keeps none; empty is {default_state()}",
    )
    add("--base-topic", default="edgex", metavar="TOPIC", help="MessageBus.BaseTopicPrefix")
    add("--escape-names", action="store_true", help="Service.EnableNameFieldEscape")
    add("--request-timeout", default="5s", metavar="TIME", help="Service.RequestTimeout")
    add("--keep-events", type=int, default=10_000, metavar="N", help="events core-data keeps, the newest")
    add("--keep-megabytes", type=int, default=256, metavar="N", help="of readings that core-data keeps, the newest")
    add("--announce", "--json", action="store_true", help="print all addresses as one line of JSON on stdout")
    return parser
